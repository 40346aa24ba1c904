<?php

/**
 * Loads the class CPANEL without composer. Programs require_once this file instead of a cPanel
 * server's cpanel.php.
 */

declare(strict_types=1);

require_once __DIR__ . '/src/Exception/LiveApiException.php';
require_once __DIR__ . '/src/Exception/ConnectionException.php';
require_once __DIR__ . '/src/Exception/UsageException.php';
require_once __DIR__ . '/src/Transport.php';
require_once __DIR__ . '/src/StreamTransport.php';
require_once __DIR__ . '/src/Connector.php';
require_once __DIR__ . '/src/Codec.php';
require_once __DIR__ . '/src/Packed.php';
require_once __DIR__ . '/src/DebugLog.php';
require_once __DIR__ . '/src/CPANEL.php';
