<?php

declare(strict_types=1);

namespace LiveAPI;

use LiveAPI\Exception\ConnectionException;
use LiveAPI\Exception\UsageException;

/**
 * Encodes and decodes the LiveAPI protocol. It does no I/O.
 *
 * Text is sent byte for byte, even if it is not UTF-8: the host checks it and answers in the
 * caller's own envelope. json_encode would reject or change such text.
 */
final class Codec
{
    public const ENABLE_JSON = '<cpaneljson enable="1">';
    public const SHUTDOWN = '<cpanelxml shutdown="1" />';

    private const OPEN = '<cpanelresult>';
    private const CLOSE = '</cpanelresult>';
    private const DEPTH = 32;

    /** Bytes of one answer. A host's own limit is far lower. */
    private const MAX_ANSWER = 128 << 20;

    public static function frame(string $payload): string
    {
        return strlen($payload) . "\n" . $payload;
    }

    /**
     * @param string|int $version
     * @param mixed      $args
     */
    public static function action(string $type, $version, string $module, string $func, $args): string
    {
        $json = '{"reqtype":' . self::text($type)
            . ',"module":' . self::text($module)
            . ',"func":' . self::text($func)
            . ',"apiversion":' . self::text((string) $version);
        if ($args !== null) {
            $json .= ',"args":' . self::value($args, 0);
        }
        return "<cpanelaction>\n" . $json . "}\n</cpanelaction>";
    }

    /**
     * Reads one answer and returns its JSON. $rest keeps the bytes after the answer.
     */
    public static function readAnswer(Transport $transport, string &$rest): string
    {
        $buffer = $rest;
        $from = 0;
        while (($end = strpos($buffer, self::CLOSE, $from)) === false) {
            $from = max(0, strlen($buffer) - strlen(self::CLOSE));
            $bytes = $transport->read();
            if ($bytes === '') {
                throw ConnectionException::broken($transport->name(), strlen($buffer));
            }
            $buffer .= $bytes;
            if (strlen($buffer) > self::MAX_ANSWER) {
                throw ConnectionException::notAnAnswer($transport->name(), 'it does not end');
            }
        }
        $rest = ltrim((string) substr($buffer, $end + strlen(self::CLOSE)), "\r\n");
        $start = strpos($buffer, self::OPEN);
        if ($start === false || $start > $end) {
            throw ConnectionException::notAnAnswer($transport->name(), 'it does not begin with ' . self::OPEN);
        }
        $start += strlen(self::OPEN);
        return substr($buffer, $start, $end - $start);
    }

    /**
     * Decodes an answer's JSON. Only API 2 answers have the level cpanelresult on the wire; it is
     * added to API 1 and UAPI answers.
     *
     * @return array<string, mixed>
     */
    public static function decode(string $json, string $where): array
    {
        $answer = json_decode($json, true, 512, JSON_BIGINT_AS_STRING);
        if (!is_array($answer)) {
            throw ConnectionException::notAnAnswer($where, json_last_error_msg());
        }
        return array_key_exists('cpanelresult', $answer) ? $answer : ['cpanelresult' => $answer];
    }

    /**
     * @param mixed $value
     */
    private static function value($value, int $depth): string
    {
        if ($depth > self::DEPTH) {
            throw UsageException::depth(self::DEPTH);
        }
        if (is_string($value)) {
            return self::text($value);
        }
        if (is_array($value)) {
            return self::collection($value, $depth + 1);
        }
        if (is_bool($value)) {
            return $value ? '1' : '0'; // cPanel's booleans are 1 and 0.
        }
        if ($value === null) {
            return 'null';
        }
        if (is_int($value) || is_float($value) && is_finite($value)) {
            return (string) json_encode($value);
        }
        if (is_object($value) && method_exists($value, '__toString')) {
            return self::text((string) $value);
        }
        if ($value instanceof \stdClass || $value instanceof \Traversable) {
            $items = $value instanceof \Traversable ? iterator_to_array($value) : get_object_vars($value);
            return $items === [] ? '{}' : self::collection($items, $depth + 1);
        }
        throw UsageException::value(is_object($value) ? get_class($value) : gettype($value));
    }

    /**
     * @param array<mixed> $items
     */
    private static function collection(array $items, int $depth): string
    {
        $list = array_keys($items) === array_keys(array_keys($items));
        $parts = [];
        foreach ($items as $key => $item) {
            $text = self::value($item, $depth);
            $parts[] = $list ? $text : self::text((string) $key) . ':' . $text;
        }
        return $list ? '[' . implode(',', $parts) . ']' : '{' . implode(',', $parts) . '}';
    }

    private static function text(string $text): string
    {
        $escaped = preg_replace_callback(
            '/["\\\\<>\x00-\x1f]/',
            static function (array $match): string {
                if ($match[0] === '"' || $match[0] === '\\') {
                    return '\\' . $match[0];
                }
                return sprintf('\\u%04x', ord($match[0]));
            },
            $text
        );
        return '"' . $escaped . '"';
    }
}
