<?php

declare(strict_types=1);

namespace LiveAPI\Exception;

/**
 * An error of a module's function, with a message for the caller.
 */
final class ModuleFailure extends \RuntimeException implements LiveApiException
{
    private string $kind;

    public function __construct(string $message, string $kind = 'invalid')
    {
        parent::__construct($message);
        $this->kind = $kind;
    }

    public function kind(): string
    {
        return $this->kind;
    }
}
