<?php

declare(strict_types=1);

namespace LiveAPI\Tests;

use LiveAPI\Transport;

/**
 * A host with answers from the test. It records requests.
 */
final class StringTransport implements Transport
{
    /** @var string[] */
    public array $pieces;
    public string $sent = '';
    public bool $open = true;

    public function __construct(string ...$pieces)
    {
        $this->pieces = $pieces;
    }

    public function name(): string
    {
        return 'test';
    }

    public function write(string $bytes): bool
    {
        $this->sent .= $bytes;
        return $this->open;
    }

    public function read(): string
    {
        return (string) array_shift($this->pieces);
    }

    public function close(): void
    {
        $this->open = false;
    }
}
