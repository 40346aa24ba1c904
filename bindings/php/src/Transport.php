<?php

declare(strict_types=1);

namespace LiveAPI;

/**
 * A two-way stream of bytes to a host.
 */
interface Transport
{
    /** Says whom one talks to, for messages. */
    public function name(): string;

    /** Sends all bytes; false where the host has hung up. */
    public function write(string $bytes): bool;

    /** Returns the bytes that come next, at least one; '' where there are no more. */
    public function read(): string;

    /** Hangs up. Safe to call again. */
    public function close(): void;
}
