<?php

declare(strict_types=1);

namespace LiveAPI;

/**
 * The debug log of a LiveAPI program. It is off by default. Only the user can read its file.
 */
final class DebugLog
{
    private int $level = 0;
    private string $path = '';

    public function setLevel(int $level): void
    {
        $this->level = max(0, $level);
    }

    public function level(): int
    {
        return $this->level;
    }

    /** Returns the log's path, which is chosen at the first use. */
    public function path(): string
    {
        if ($this->path === '') {
            $home = (string) getenv('HOME') ?: sys_get_temp_dir();
            $this->path = $home . '/.cpanel/LiveAPI.log.' . bin2hex(random_bytes(8));
        }
        return $this->path;
    }

    /**
     * Writes a message if the log is on and $level is at least its level. With $stderr, the message also
     * goes to standard error, and with level 0 only there. Tells whether it was written.
     */
    public function write(int $level, string $message, bool $stderr): bool
    {
        $line = '[' . gmdate('Y-m-d H:i:s') . 'Z] ' . addcslashes($message, "\0..\37\177") . "\n";
        if ($level === 0 && $stderr) {
            return file_put_contents('php://stderr', $line) !== false;
        }
        if ($this->level === 0 || $level < $this->level) {
            return false;
        }
        if ($stderr) {
            file_put_contents('php://stderr', $line);
        }
        $path = $this->path();
        if (!is_dir(dirname($path))) {
            @mkdir(dirname($path), 0700, true);
        }
        $old = umask(0077);
        try {
            return @file_put_contents($path, $line, FILE_APPEND | LOCK_EX) !== false;
        } finally {
            umask($old);
        }
    }
}
