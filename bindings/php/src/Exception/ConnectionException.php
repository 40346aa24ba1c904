<?php

declare(strict_types=1);

namespace LiveAPI\Exception;

/**
 * There is no host, or it hung up.
 */
final class ConnectionException extends \RuntimeException implements LiveApiException
{
    public static function noSocket(string $path, string $why): self
    {
        return new self("$path: no LiveAPI host can be reached there: $why");
    }

    public static function noProgram(string $program): self
    {
        return new self(
            "$program: the LiveAPI host can't be started; set LIVEAPID to the liveapid program,"
            . ' or CPANEL_CONNECT_SOCKET to the socket of a host that runs'
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
        return new self("$where: what came is no LiveAPI answer: $why");
    }

    /** The wording that LiveAPI programs know. */
    public static function closed(): self
    {
        return new self('The LivePHP Socket has closed, unable to continue.');
    }
}
