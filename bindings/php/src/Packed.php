<?php

declare(strict_types=1);

namespace LiveAPI;

use LiveAPI\Exception\ConnectionException;
use LiveAPI\Exception\UsageException;

/**
 * The LiveAPI protocol in MessagePack, an extension of liveapid. It is used if PHP's msgpack
 * extension is loaded and the host supports it. It opens no connections.
 */
final class Packed
{
    public const ENABLE = '<cpanelmsgpack enable="1">';

    private const DEPTH = 32;
    private const MAX_ANSWER = 128 << 20;

    /**
     * Tells whether the client may ask for MessagePack. The socket in cPanel's variables may belong
     * to a cPanel server, which does not know it. If the variables name liveapid's socket, set
     * LIVEAPI_ENCODING=msgpack too. LIVEAPI_ENCODING=json turns MessagePack off.
     */
    public static function available(): bool
    {
        $encoding = (string) getenv('LIVEAPI_ENCODING');
        $upstream = getenv('CPANEL_PHPCONNECT_SOCKET') || getenv('CPANEL_CONNECT_SOCKET');
        return \function_exists('msgpack_pack') && ($encoding === 'msgpack' || $encoding === '' && !$upstream);
    }

    /**
     * @param string|int $version
     * @param mixed      $args
     */
    public static function request(int $id, $version, string $module, string $func, $args): string
    {
        $map = ['id' => $id, 'api' => (string) $version, 'module' => $module, 'func' => $func];
        if ($args !== null) {
            $map['args'] = self::value($args, 0);
        }
        return Codec::frame(msgpack_pack($map));
    }

    public static function tag(int $id, string $tag): string
    {
        return Codec::frame(msgpack_pack(['id' => $id, 'tag' => $tag]));
    }

    /**
     * Reads one answer. $rest keeps the bytes after the answer.
     *
     * @return array<string, mixed>
     */
    public static function readAnswer(Transport $transport, string &$rest): array
    {
        $buffer = ltrim($rest, "\r\n");
        while (($end = strpos($buffer, "\n")) === false && strlen($buffer) <= 10) {
            $buffer = ltrim($buffer . self::more($transport, $buffer), "\r\n");
        }
        $length = $end === false ? '' : substr($buffer, 0, $end);
        if (!ctype_digit($length) || (int) $length > self::MAX_ANSWER) {
            throw ConnectionException::notAnAnswer($transport->name(), 'its length is missing');
        }
        $from = $end + 1;
        $size = (int) $length;
        while (strlen($buffer) < $from + $size) {
            $buffer .= self::more($transport, $buffer);
        }
        $rest = (string) substr($buffer, $from + $size);
        $answer = msgpack_unpack(substr($buffer, $from, $size));
        if (!is_array($answer) || !isset($answer['result']) || !is_array($answer['result'])) {
            throw ConnectionException::notAnAnswer($transport->name(), 'it holds no result');
        }
        $result = $answer['result'];
        return array_key_exists('cpanelresult', $result) ? $result : ['cpanelresult' => $result];
    }

    private static function more(Transport $transport, string $buffer): string
    {
        $bytes = $transport->read();
        if ($bytes === '') {
            throw ConnectionException::broken($transport->name(), strlen($buffer));
        }
        return $bytes;
    }

    /**
     * @param mixed $value
     * @return mixed
     */
    private static function value($value, int $depth)
    {
        if ($depth > self::DEPTH) {
            throw UsageException::depth(self::DEPTH);
        }
        if (is_bool($value)) {
            return $value ? 1 : 0; // cPanel's booleans are 1 and 0.
        }
        if (is_float($value) && !is_finite($value)) {
            throw UsageException::value('float');
        }
        if ($value === null || is_scalar($value)) {
            return $value;
        }
        if (is_object($value) && method_exists($value, '__toString')) {
            return (string) $value;
        }
        if ($value instanceof \Traversable) {
            $value = iterator_to_array($value);
        } elseif ($value instanceof \stdClass) {
            $value = get_object_vars($value);
        }
        if (!is_array($value)) {
            throw UsageException::value(is_object($value) ? get_class($value) : gettype($value));
        }
        return array_map(static fn ($item) => self::value($item, $depth + 1), $value);
    }
}
