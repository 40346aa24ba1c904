<?php

declare(strict_types=1);

namespace LiveAPI\Exception;

/**
 * A call that can't be sent: the program made a mistake.
 */
final class UsageException extends \InvalidArgumentException implements LiveApiException
{
    public static function value(string $type): self
    {
        return new self("an argument of type $type can't be sent: use text, numbers, booleans, null and arrays");
    }

    public static function depth(int $most): self
    {
        return new self("the arguments are nested deeper than $most, or hold themselves");
    }

    public static function module(): self
    {
        return new self('a module is started by its host: put it into the modules directory and call it');
    }

    public static function document(): self
    {
        return new self('the host closed its end within a document, or what came from it is none');
    }
}
