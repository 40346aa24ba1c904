<?php

declare(strict_types=1);

namespace LiveAPI;

use LiveAPI\Exception\ModuleFailure;
use LiveAPI\Exception\UsageException;

/**
 * A module for liveapid, written in PHP. The host starts the script at the first call of the
 * module, once for each account and with that account's rights. If the script exits, the next
 * call starts it again. Calls arrive one at a time. The script's output goes to the host's log.
 */
final class Module
{
    private const APIS = ['api1' => 1, 'api2' => 2, 'uapi' => 3];
    private const KEYS = ['help', 'returns', 'example', 'params', 'roles', 'changes', 'feature', 'open'];
    private const TYPES = ['string', 'secret', 'integer', 'flag', 'any'];
    private const ROLES = ['account', 'mailbox', 'admin'];
    private const DEPTH = 32;
    private const MAX = 16 << 20;

    /** The key for text that is not UTF-8. */
    private const BYTES = '$base64';

    private string $name;
    private string $help;

    /** @var array<int, array{do: callable, describe: array<string, mixed>}> */
    private array $functions = [];

    /** @var callable|null */
    private $configure;

    /** @var array{0: resource, 1: resource, 2: resource, 3: resource}|null */
    private static ?array $streams = null;

    public function __construct(string $name, string $help = '')
    {
        $this->name = $name;
        $this->help = $help;
    }

    /**
     * Adds a UAPI function.
     *
     * @param array<string, mixed>            $about help, returns, example (of the data), params (a list of
     *                                               arrays with name, type, required and help), roles (by
     *                                               default ['account']), changes, feature, open
     * @param callable(ModuleCall): mixed     $do
     */
    public function uapi(string $name, array $about, callable $do): self
    {
        return $this->add('uapi', $name, $about, $do);
    }

    /**
     * Adds an API 2 function: its data is a record or a list of records.
     *
     * @param array<string, mixed>        $about
     * @param callable(ModuleCall): mixed $do
     */
    public function api2(string $name, array $about, callable $do): self
    {
        return $this->add('api2', $name, $about, $do);
    }

    /**
     * Adds an API 1 function: its parameters are positional, and its data is the printed text.
     *
     * @param array<string, mixed>        $about
     * @param callable(ModuleCall): mixed $do
     */
    public function api1(string $name, array $about, callable $do): self
    {
        return $this->add('api1', $name, $about, $do);
    }

    /**
     * Calls $do with the operator's settings before the first call. If it throws a
     * ModuleFailure, the module is not served and the host logs the message.
     *
     * @param callable(array<string, mixed>): void $do
     */
    public function configure(callable $do): self
    {
        $this->configure = $do;
        return $this;
    }

    /**
     * Serves calls until the host ends the script.
     */
    public function serve(): void
    {
        if (getenv('LIVEAPI_MODULE') === false) {
            throw UsageException::module();
        }
        self::takeStreams();
        $process = getmypid();
        while (($document = self::read()) !== null) {
            $answer = $this->answer($document);
            if (getmypid() !== $process) {
                fwrite(STDERR, ($answer['error']['cause'] ?? '') . "\n");
                exit(1); // A child process that the module forked must not continue to serve.
            }
            if (isset($document['call']['id'])) {
                $answer['id'] = $document['call']['id'];
            }
            self::write($answer);
        }
    }

    /**
     * Returns the answer to one document of the host.
     *
     * @param  array<string, mixed> $document
     * @return array<string, mixed>
     */
    public function answer(array $document): array
    {
        if (isset($document['describe'])) {
            return $this->describe($document['describe']['settings'] ?? []);
        }
        $request = $document['call'] ?? [];
        foreach ($this->functions as $function) {
            $about = $function['describe'];
            if ($about['name'] === ($request['func'] ?? null) && $about['api'] === ($request['api'] ?? null)) {
                return self::run($function['do'], new ModuleCall($request));
            }
        }
        return self::error('internal', '', 'the module has no function ' . ($request['func'] ?? ''));
    }

    /**
     * Reserves standard input and output for the host, so that output of the module's own code does
     * not mix with the answers. The streams opened after each fclose get descriptors 0 and 1.
     */
    public static function takeStreams(): void
    {
        if (self::$streams !== null) {
            return;
        }
        $in = fopen('php://fd/0', 'rb');
        $out = fopen('php://fd/1', 'wb');
        fclose(STDIN);
        $nothing = fopen('/dev/null', 'rb');
        fclose(STDOUT);
        $log = fopen('php://fd/2', 'wb');
        if (!$in || !$out || !$nothing || !$log) {
            throw UsageException::module();
        }
        self::$streams = [$in, $out, $nothing, $log];
    }

    /**
     * @param array<string, mixed> $about
     */
    private function add(string $api, string $name, array $about, callable $do): self
    {
        $where = "the function $name";
        self::only($where, 'key', array_keys($about), self::KEYS);
        self::only($where, 'role', $about['roles'] ?? [], self::ROLES);
        $params = [];
        foreach ($about['params'] ?? [] as $param) {
            if (!is_array($param) || !isset($param['name'])) {
                throw UsageException::parameter($where);
            }
            self::only("$where: a parameter", 'key', array_keys($param), ['name', 'type', 'required', 'help']);
            self::only("$where: a parameter", 'type', [$param['type'] ?? 'string'], self::TYPES);
            $params[] = [
                'name' => (string) $param['name'],
                'type' => (string) ($param['type'] ?? 'string'),
                'help' => (string) ($param['help'] ?? ''),
                'required' => (bool) ($param['required'] ?? false),
            ];
        }
        $example = isset($about['example']) ? ['example' => self::clean($about['example'], 0)] : [];
        $this->functions[] = ['do' => $do, 'describe' => $example + [
            'api' => self::APIS[$api],
            'name' => $name,
            'help' => (string) ($about['help'] ?? ''),
            'returns' => (string) ($about['returns'] ?? ''),
            'feature' => (string) ($about['feature'] ?? ''),
            'roles' => array_values($about['roles'] ?? ['account']),
            'changes' => (bool) ($about['changes'] ?? false),
            'open' => (bool) ($about['open'] ?? false),
            'params' => $params,
            'source' => self::source($do),
        ]];
        return $this;
    }

    /**
     * Refuses a word that is not known, so that a misspelled word is noticed.
     *
     * @param array<int|string> $words
     * @param string[]          $known
     */
    private static function only(string $where, string $what, array $words, array $known): void
    {
        foreach ($words as $word) {
            if (!in_array($word, $known, true)) {
                throw UsageException::unknown($where, $what, (string) $word, $known);
            }
        }
    }

    /**
     * Returns the place of a function's code, for messages.
     */
    private static function source(callable $do): string
    {
        $code = new \ReflectionFunction(\Closure::fromCallable($do));
        return $code->isInternal() ? '' : $code->getFileName() . ' line ' . $code->getStartLine();
    }

    /**
     * Returns a message about an error: its text, and its place in the module's own code. It contains no
     * stack, because the arguments in a stack may be passwords.
     */
    public static function explain(\Throwable $fault): string
    {
        [$file, $line] = [$fault->getFile(), $fault->getLine()];
        foreach ($fault->getTrace() as $frame) {
            if (strncmp($file, __DIR__ . '/', strlen(__DIR__) + 1) !== 0) {
                break;
            }
            [$file, $line] = [$frame['file'] ?? $file, $frame['line'] ?? $line];
        }
        return sprintf('%s: %s in %s line %d', get_class($fault), $fault->getMessage(), $file, $line);
    }

    /**
     * @param  array<string, mixed> $settings
     * @return array<string, mixed>
     */
    private function describe(array $settings): array
    {
        if ($this->configure !== null) {
            try {
                ($this->configure)($settings);
            } catch (ModuleFailure $failure) {
                return self::error('invalid', $failure->getMessage());
            }
        }
        return ['modules' => [[
            'name' => $this->name,
            'help' => $this->help,
            'functions' => array_column($this->functions, 'describe'),
        ]]];
    }

    /**
     * @return array<string, mixed>
     */
    private static function run(callable $do, ModuleCall $call): array
    {
        try {
            $answer = ['data' => $do($call)] + $call->notes();
        } catch (ModuleFailure $failure) {
            return self::error($failure->kind(), $failure->getMessage());
        } catch (\Throwable $fault) {
            return self::error('internal', '', self::explain($fault));
        }
        try {
            return self::clean($answer, 0);
        } catch (UsageException $fault) {
            return self::error('internal', '', 'the result: ' . $fault->getMessage());
        }
    }

    /**
     * @return array<string, mixed>
     */
    private static function error(string $kind, string $message, string $cause = ''): array
    {
        $error = ['kind' => $kind, 'message' => self::clean($message, 0)];
        return ['error' => $cause === '' ? $error : $error + ['cause' => self::clean($cause, 0)]];
    }

    /**
     * @return array<string, mixed>|null
     */
    private static function read(): ?array
    {
        $in = self::$streams[0];
        $line = fgets($in, 16);
        if ($line === false) {
            return null;
        }
        $length = rtrim($line, "\n");
        if (!ctype_digit($length) || (int) $length > self::MAX) {
            throw UsageException::document();
        }
        $json = '';
        while (($left = (int) $length - strlen($json)) > 0) {
            $bytes = fread($in, $left);
            if ($bytes === false || $bytes === '') {
                throw UsageException::document();
            }
            $json .= $bytes;
        }
        $document = json_decode($json, true, 64, JSON_BIGINT_AS_STRING);
        if (!is_array($document)) {
            throw UsageException::document();
        }
        return self::bytes($document);
    }

    /**
     * @param array<string, mixed> $document
     */
    private static function write(array $document): void
    {
        $flags = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION;
        $json = (string) json_encode($document, $flags);
        if ($json === '' || strlen($json) > self::MAX) {
            $cause = "the answer can't be sent: it is too long, or JSON can't represent it";
            $json = (string) json_encode(self::error('internal', '', $cause));
        }
        $frame = strlen($json) . "\n" . $json;
        for ($sent = 0; $sent < strlen($frame); $sent += $n) {
            $n = fwrite(self::$streams[1], substr($frame, $sent));
            if (!$n) {
                throw UsageException::document();
            }
        }
        fflush(self::$streams[1]);
    }

    /**
     * @param  mixed $value
     * @return mixed
     */
    private static function bytes($value)
    {
        if (!is_array($value)) {
            return $value;
        }
        if (count($value) === 1 && isset($value[self::BYTES])) {
            return (string) base64_decode((string) $value[self::BYTES], true);
        }
        return array_map([self::class, 'bytes'], $value);
    }

    /**
     * @param  mixed $value
     * @return mixed
     */
    private static function clean($value, int $depth)
    {
        if ($depth > self::DEPTH) {
            throw UsageException::depth(self::DEPTH);
        }
        if (is_string($value)) {
            return preg_match('//u', $value) === 1 ? $value : [self::BYTES => base64_encode($value)];
        }
        if (is_float($value) && !is_finite($value)) {
            return null;
        }
        if ($value === null || is_scalar($value)) {
            return $value;
        }
        if (is_object($value) && method_exists($value, '__toString')) {
            return self::clean((string) $value, $depth);
        }
        $object = is_object($value);
        if ($value instanceof \Traversable) {
            $value = iterator_to_array($value);
        } elseif ($value instanceof \stdClass) {
            $value = get_object_vars($value);
        }
        if (!is_array($value)) {
            throw UsageException::value(is_object($value) ? get_class($value) : gettype($value));
        }
        if ($object && $value === []) {
            return new \stdClass();
        }
        return array_map(static fn ($item) => self::clean($item, $depth + 1), $value);
    }
}
