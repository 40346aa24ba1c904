<?php

declare(strict_types=1);

namespace LiveAPI\Exception;

/**
 * Marks every exception of this library.
 */
interface LiveApiException extends \Throwable
{
}
