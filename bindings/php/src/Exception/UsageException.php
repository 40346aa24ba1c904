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
        return new self("a value of type $type can't be sent: use text, numbers, booleans, null and arrays");
    }

    public static function depth(int $most): self
    {
        return new self("the values are nested deeper than $most, or contain themselves");
    }

    /**
     * @param string[] $known
     */
    public static function unknown(string $where, string $what, string $word, array $known): self
    {
        return new self("$where: unknown $what $word: the {$what}s are " . implode(', ', $known));
    }

    public static function parameter(string $where): self
    {
        return new self("$where: a parameter must be an array with a name");
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
