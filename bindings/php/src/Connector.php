<?php

declare(strict_types=1);

namespace LiveAPI;

use LiveAPI\Exception\ConnectionException;

/**
 * Finds the host: the socket in the environment, as on a cPanel server, or the socket of a
 * running host. If there is neither, it starts a host for this session.
 */
final class Connector
{
    private const DEFAULT_SOCKET = '/run/liveapid/liveapi.sock';

    public static function connect(): Transport
    {
        foreach (['CPANEL_PHPCONNECT_SOCKET', 'CPANEL_CONNECT_SOCKET', 'LIVEAPI_SOCKET'] as $name) {
            $path = (string) getenv($name);
            if ($path !== '') {
                return self::socket($path);
            }
        }
        // LIVEAPID_CONFIG names a configuration of another host.
        if ((string) getenv('LIVEAPID_CONFIG') === '' && @filetype(self::DEFAULT_SOCKET) === 'socket') {
            try {
                return self::socket(self::DEFAULT_SOCKET);
            } catch (ConnectionException $e) {
                // A host that crashed may have left the socket. Start a host instead.
            }
        }
        return self::process((string) getenv('LIVEAPID') ?: 'liveapid');
    }

    public static function socket(string $path): Transport
    {
        $stream = @stream_socket_client('unix://' . $path, $code, $why);
        if ($stream === false) {
            throw ConnectionException::noSocket($path, (string) $why);
        }
        return new StreamTransport($path, $stream, $stream);
    }

    /** Tells whether the program exists. proc_open does not report it. */
    private static function runs(string $program): bool
    {
        if (strpos($program, '/') !== false) {
            return is_executable($program);
        }
        foreach (explode(':', (string) getenv('PATH') ?: '/usr/local/bin:/usr/bin:/bin') as $directory) {
            if ($directory !== '' && is_executable("$directory/$program")) {
                return true;
            }
        }
        return false;
    }

    /** Starts a host for one session. Its log goes to this program's standard error. */
    public static function process(string $program): Transport
    {
        if (!self::runs($program)) {
            throw ConnectionException::noProgram($program);
        }
        $stderr = defined('STDERR') ? STDERR : fopen('php://stderr', 'w');
        $process = @proc_open([$program, 'stdio'], [['pipe', 'r'], ['pipe', 'w'], $stderr], $pipes);
        if (!is_resource($process)) {
            throw ConnectionException::noProgram($program);
        }
        return new StreamTransport("$program stdio", $pipes[1], $pipes[0], $process);
    }
}
