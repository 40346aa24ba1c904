<?php

declare(strict_types=1);

namespace LiveAPI;

/**
 * A two-way stream of bytes to a host.
 */
interface Transport
{
    /** Returns the host's name for messages: the socket's path or the program. */
    public function name(): string;

    /** Sends all bytes. Returns false if the host closed the connection. */
    public function write(string $bytes): bool;

    /** Returns the next bytes, or '' at the end. */
    public function read(): string;

    /** Closes the connection. May be called again. */
    public function close(): void;
}
