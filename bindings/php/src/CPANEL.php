<?php

declare(strict_types=1);

use LiveAPI\Codec;
use LiveAPI\Connector;
use LiveAPI\DebugLog;
use LiveAPI\Exception\ConnectionException;
use LiveAPI\Packed;
use LiveAPI\Transport;

/**
 * A client for cPanel's LiveAPI, with the names of cPanel's documentation ("Guide to the
 * LiveAPI System"). Programs run unchanged with liveapid and on a cPanel server.
 *
 * If the host rejects a call, the method returns the host's answer with the error. A method
 * throws an exception if no host can be reached or the host closes the session. All exceptions
 * implement LiveAPI\Exception\LiveApiException.
 */
class CPANEL
{
    private Transport $transport;
    private DebugLog $log;
    private bool $connected = false;
    private bool $packed = false; // The session is in MessagePack.
    private int $calls = 0;
    private string $rest = '';

    /** @var array<string, mixed> */
    private array $last = [];

    /** @var array<string, mixed>|null */
    private ?array $frame = null;

    /**
     * Opens a session. A program needs only one session.
     *
     * @param Transport|null $transport a connection to use; null finds the host
     */
    public function __construct(?Transport $transport = null)
    {
        $this->log = new DebugLog();
        $this->transport = $transport ?? Connector::connect();
        $this->connected = true;
        // A host that rejects the session may have closed it already. Its reason can still be read.
        $this->transport->write(Codec::frame(Codec::ENABLE_JSON));
        $answer = $this->read();
        if (($answer['cpanelresult']['data']['result'] ?? null) !== 'json') {
            $this->disconnect();
            $why = $answer['cpanelresult']['error'] ?? 'it gave no reason';
            throw ConnectionException::refused($this->transport->name(), (string) $why);
        }
        if (Packed::available()) {
            $this->transport->write(Codec::frame(Packed::ENABLE));
            // A host without MessagePack answers with an error, and the session continues in JSON.
            $this->packed = ($this->read()['cpanelresult']['data']['result'] ?? null) === 'msgpack';
        }
    }

    public function __destruct()
    {
        $this->disconnect();
    }

    /**
     * Runs one function of any API.
     *
     * @param string       $reqtype exec, if or feature
     * @param string|int   $version 1, 2, 3 or uapi
     * @param mixed        $args    named for API 2 and UAPI, a list for API 1
     * @return array<string, mixed>
     */
    public function api(
        $reqtype,
        $version,
        $module,
        $func,
        #[\SensitiveParameter]
        $args = null
    ) {
        $this->log->write(1, "$reqtype $module::$func of version $version", false);
        if ($this->packed) {
            return $this->send(Packed::request(++$this->calls, $version, (string) $module, (string) $func, $args));
        }
        return $this->send(Codec::frame(
            Codec::action((string) $reqtype, $version, (string) $module, (string) $func, $args)
        ));
    }

    /**
     * Runs a function of API 1.
     *
     * @param mixed $args a list, or one text
     * @return array<string, mixed>
     */
    public function api1(
        $module,
        $func,
        #[\SensitiveParameter]
        $args = null
    ) {
        return $this->api('exec', '1', $module, $func, $args);
    }

    /**
     * Runs a function of API 2.
     *
     * @param array<string, mixed> $args
     * @return array<string, mixed>
     */
    public function api2(
        $module,
        $func,
        #[\SensitiveParameter]
        $args = []
    ) {
        return $this->api('exec', '2', $module, $func, $args);
    }

    /**
     * The older name of uapi.
     *
     * @param array<string, mixed> $args
     * @return array<string, mixed>
     */
    public function api3(
        $module,
        $func,
        #[\SensitiveParameter]
        $args = []
    ) {
        return $this->api('exec', '3', $module, $func, $args);
    }

    /**
     * Runs a function of UAPI.
     *
     * @param array<string, mixed> $args
     * @return array<string, mixed>
     */
    public function uapi(
        $module,
        $func,
        #[\SensitiveParameter]
        $args = []
    ) {
        return $this->api('exec', 'uapi', $module, $func, $args);
    }

    /**
     * Sends a tag unchanged.
     *
     * @param int|bool $skip_return 1 reads and discards the answer
     * @return array<string, mixed>|null
     */
    public function exec($code, $skip_return = 0)
    {
        $answer = $this->tag((string) $code);
        return $skip_return ? null : $answer;
    }

    /**
     * Returns the complete answer with a variable's value.
     *
     * @return array<string, mixed>
     */
    public function fetch($var)
    {
        return $this->tag('<cpanel print="' . $var . '">');
    }

    /**
     * Evaluates an expression.
     *
     * @return int 1 or 0
     */
    public function cpanelif($code)
    {
        return (int) $this->result($this->api('if', '1', 'if', 'if', $code));
    }

    /**
     * Tells whether the account has a feature.
     *
     * @return int 1 or 0
     */
    public function cpanelfeature($feature)
    {
        return (int) $this->result($this->api('feature', '1', 'feature', 'feature', $feature));
    }

    /**
     * Returns a variable's value.
     *
     * @return string
     */
    public function cpanelprint($var)
    {
        return (string) $this->result($this->api('exec', '1', 'print', '', $var));
    }

    /**
     * Returns the locale's text for a key.
     *
     * @return string
     */
    public function cpanellangprint($key)
    {
        return (string) $this->result($this->api('exec', '1', 'langprint', '', $key));
    }

    /**
     * Returns the data of the last answer: API 1's text, API 2's records, UAPI's data.
     *
     * @return mixed
     */
    public function get_result()
    {
        $answer = $this->last['cpanelresult'] ?? [];
        if (array_key_exists('result', $answer)) {
            return $answer['result']['data'] ?? null;
        }
        $data = $answer['data'] ?? null;
        return is_array($data) && array_key_exists('result', $data) ? $data['result'] : $data;
    }

    /**
     * Returns the HTML for the start of a page.
     *
     * @return string
     */
    public function header($title = '', $app_key = '')
    {
        $this->frame = $this->pageFrame((string) $title, (string) $app_key);
        return (string) ($this->frame['header'] ?? '');
    }

    /**
     * Returns the HTML for the end of a page.
     *
     * @return string
     */
    public function footer()
    {
        $this->frame = $this->frame ?? $this->pageFrame('', '');
        return (string) ($this->frame['footer'] ?? '');
    }

    /**
     * Sets the debug level. 0 turns the log off.
     *
     * @return int 1
     */
    public function set_debug($level)
    {
        $this->log->setLevel((int) $level);
        return 1;
    }

    /** @return int */
    public function get_debug_level()
    {
        return $this->log->level();
    }

    /** @return string the path of the debug log */
    public function get_debug_log()
    {
        return $this->log->path();
    }

    /**
     * Writes to the debug log if $level is at least the debug level. If $stderr is true, 1 or the text
     * 'true', the message also goes to standard error, and with level 0 only there.
     *
     * @return int 1 if it was written, else 0
     */
    public function debug_log($level, $message, $stderr = false)
    {
        $both = filter_var($stderr, FILTER_VALIDATE_BOOLEAN);
        return (int) $this->log->write((int) $level, (string) $message, $both);
    }

    /**
     * Writes a value or a JSON text to the debug log.
     *
     * @return int 1 if it was written, else 0
     */
    public function debug_log_json($json)
    {
        $text = is_string($json) ? $json : (string) json_encode($json, JSON_PARTIAL_OUTPUT_ON_ERROR);
        return (int) $this->log->write(max(1, $this->log->level()), $text, false);
    }

    /** Ends the session. Call it last. */
    public function end()
    {
        if ($this->connected && $this->transport->write(Codec::frame(Codec::SHUTDOWN))) {
            while ($this->transport->read() !== '') {
                continue; // A host may answer before it closes the session.
            }
        }
        $this->disconnect();
    }

    /**
     * @return array<string, mixed>
     */
    private function tag(string $tag): array
    {
        return $this->send($this->packed ? Packed::tag(++$this->calls, $tag) : Codec::frame($tag));
    }

    /**
     * @return array<string, mixed>
     */
    private function send(
        #[\SensitiveParameter]
        string $frame
    ): array {
        if (!$this->connected) {
            throw ConnectionException::closed();
        }
        if ($this->transport->write($frame)) {
            $this->last = $this->read();
            return $this->last;
        }
        try {
            $this->last = $this->read(); // A host that closed the session may have sent its reason.
        } catch (ConnectionException $e) {
            throw ConnectionException::closed();
        } finally {
            $this->disconnect();
        }
        return $this->last;
    }

    /**
     * @return array<string, mixed>
     */
    private function read(): array
    {
        try {
            if ($this->packed) {
                return Packed::readAnswer($this->transport, $this->rest);
            }
            $json = Codec::readAnswer($this->transport, $this->rest);
            return Codec::decode($json, $this->transport->name());
        } catch (ConnectionException $e) {
            $this->disconnect(); // Otherwise a late answer would be read as the next call's.
            throw $e;
        }
    }

    private function disconnect(): void
    {
        if ($this->connected) {
            $this->connected = false;
            $this->transport->close();
        }
    }

    /**
     * @param array<string, mixed> $answer
     * @return mixed
     */
    private function result(array $answer)
    {
        return $answer['cpanelresult']['data']['result'] ?? null;
    }

    /**
     * @return array<string, mixed>
     */
    private function pageFrame(string $title, string $appKey): array
    {
        $last = $this->last;
        $answer = $this->uapi('Chrome', 'get_dom', ['page_title' => $title, 'app_key' => $appKey]);
        $this->last = $last; // get_result returns results of the program's own calls.
        $data = $answer['cpanelresult']['result']['data'] ?? null;
        return is_array($data) ? $data : [];
    }
}
