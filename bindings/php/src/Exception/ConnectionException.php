<?php

declare(strict_types=1);

namespace LiveAPI\Exception;

/**
 * No host could be reached, or it closed the session.
 */
final class ConnectionException extends \RuntimeException implements LiveApiException
{
    public static function noSocket(string $path, string $why): self
    {
        return new self("$path: could not connect to a LiveAPI host: $why");
    }

    public static function noProgram(string $program): self
    {
        return new self(
            "$program: could not start the LiveAPI host; set LIVEAPID to the liveapid program,"
            . ' or CPANEL_CONNECT_SOCKET to the socket of a running host'
        );
    }

    public static function refused(string $where, string $why): self
    {
        return new self("$where: the host rejected the session: $why");
    }

    public static function broken(string $where, int $got): self
    {
        return new self("$where: the host closed the session after $got bytes of an answer");
    }

    public static function notAnAnswer(string $where, string $why): self
    {
        return new self("$where: the response is not a LiveAPI answer: $why");
    }

    /** LiveAPI programs know this wording. */
    public static function closed(): self
    {
        return new self('The LivePHP Socket has closed, unable to continue.');
    }
}
