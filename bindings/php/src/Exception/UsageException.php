<?php

declare(strict_types=1);

namespace LiveAPI\Exception;

/**
 * The program passed arguments that can't be sent, or started a module by hand.
 */
final class UsageException extends \InvalidArgumentException implements LiveApiException
{
    public static function value(string $type): self
    {
        return new self("an argument of type $type can't be sent: use text, numbers, booleans, null and arrays");
    }

    public static function depth(int $most): self
    {
        return new self("the arguments are nested deeper than $most, or contain themselves");
    }

    public static function module(): self
    {
        return new self('the host starts a module: put this file into the modules directory and call the module');
    }

    public static function document(): self
    {
        return new self('the host sent an incomplete or invalid document');
    }
}
