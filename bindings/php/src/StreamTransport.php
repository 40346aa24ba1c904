<?php

declare(strict_types=1);

namespace LiveAPI;

/**
 * A transport over PHP streams: a socket, or the two pipes of a host that was started for this
 * session.
 */
final class StreamTransport implements Transport
{
    /** The host limits the time of a call. This overrides PHP's default of 60 seconds. */
    private const PATIENCE_SECONDS = 86400;

    private string $name;

    /** @var resource|null */
    private $in;

    /** @var resource|null */
    private $out;

    /** @var resource|null */
    private $process;

    /**
     * @param resource      $in      the stream from the host
     * @param resource      $out     the stream to the host; may be the same stream
     * @param resource|null $process the process from proc_open; close waits for it
     */
    public function __construct(string $name, $in, $out, $process = null)
    {
        $this->name = $name;
        $this->in = $in;
        $this->out = $out;
        $this->process = $process;
        stream_set_timeout($in, self::PATIENCE_SECONDS);
    }

    public function name(): string
    {
        return $this->name;
    }

    public function write(string $bytes): bool
    {
        if ($this->out === null) {
            return false;
        }
        while ($bytes !== '') {
            $sent = @fwrite($this->out, $bytes);
            if ($sent === false || $sent === 0) {
                return false;
            }
            $bytes = (string) substr($bytes, $sent);
        }
        return true;
    }

    public function read(): string
    {
        if ($this->in === null) {
            return '';
        }
        $bytes = @fread($this->in, 65536);
        return $bytes === false ? '' : $bytes;
    }

    public function close(): void
    {
        foreach ([$this->out, $this->in] as $stream) {
            if (is_resource($stream)) {
                fclose($stream);
            }
        }
        $this->in = $this->out = null;
        if ($this->process !== null) {
            proc_close($this->process);
            $this->process = null;
        }
    }
}
