<?php

declare(strict_types=1);

require_once __DIR__ . '/../cpanel.php';
require_once __DIR__ . '/../module.php';
require_once __DIR__ . '/StringTransport.php';
