<?php

declare(strict_types=1);

namespace LiveAPI;

use LiveAPI\Exception\ModuleFailure;
use LiveAPI\Exception\UsageException;

/**
 * A call of a module's function.
 */
final class ModuleCall
{
    private const KINDS = ['invalid', 'not_found', 'failed', 'denied', 'unavailable'];

    /** @var array<string, mixed> */
    private array $request;

    /** @var string[] */
    private array $messages = [];

    /** @var string[] */
    private array $warnings = [];

    /** @var array<string, mixed> */
    private array $metadata = [];

    /**
     * @param array<string, mixed> $request
     */
    public function __construct(array $request)
    {
        $this->request = $request + ['id' => '', 'role' => '', 'args' => null, 'account' => null];
        $this->request['args'] = (array) $this->request['args'];
        $this->request['account'] = (array) $this->request['account'];
    }

    /**
     * Returns an argument, or $else if it is absent.
     *
     * @param  mixed $else
     * @return mixed
     */
    public function get(string $name, $else = null)
    {
        return $this->request['args'][$name] ?? $else;
    }

    public function has(string $name): bool
    {
        return array_key_exists($name, $this->request['args']);
    }

    /**
     * @return array<string, mixed>
     */
    public function args(): array
    {
        return $this->request['args'];
    }

    /**
     * Returns the account: name, uid, gid, home, domains and, if the account has any, features
     * and data.
     *
     * @return array<string, mixed>
     */
    public function account(): array
    {
        return $this->request['account'];
    }

    public function user(): string
    {
        return (string) ($this->request['account']['name'] ?? '');
    }

    public function home(): string
    {
        return (string) ($this->request['account']['home'] ?? '');
    }

    /**
     * Returns the account's domains, the main one first.
     *
     * @return string[]
     */
    public function domains(): array
    {
        return (array) ($this->request['account']['domains'] ?? []);
    }

    public function hasFeature(string $name): bool
    {
        $features = $this->request['account']['features'] ?? null;
        return $features === null || in_array($name, $features, true);
    }

    /**
     * Returns the caller's role: account, mailbox or admin.
     */
    public function role(): string
    {
        return (string) $this->request['role'];
    }

    /**
     * Returns the call's id, for logs.
     */
    public function id(): string
    {
        return (string) $this->request['id'];
    }

    public function message(string $text): void
    {
        $this->messages[] = $text;
    }

    public function warn(string $text): void
    {
        $this->warnings[] = $text;
    }

    /**
     * @param mixed $value
     */
    public function metadata(string $key, $value): void
    {
        $this->metadata[$key] = $value;
    }

    /**
     * Ends the call with an error message for the caller. If a function throws another exception,
     * its message goes to the host's log, and the caller gets only the call's id.
     *
     * @param  string $kind invalid, not_found, failed, denied or unavailable
     * @return never
     */
    public function fail(string $message, string $kind = 'invalid'): void
    {
        if (!in_array($kind, self::KINDS, true)) {
            throw UsageException::unknown('fail', 'kind', $kind, self::KINDS);
        }
        throw new ModuleFailure($message, $kind);
    }

    /**
     * Returns the data of a function that changes something and has no data: in API 2 a list with a
     * record of success, in which reason has the warnings, and otherwise null.
     *
     * @return array<int, array<string, mixed>>|null
     */
    public function done(): ?array
    {
        if (($this->request['api'] ?? 0) !== 2) {
            return null;
        }
        return [['result' => 1, 'reason' => implode(' ', $this->warnings)]];
    }

    /**
     * Returns the messages, warnings and metadata of the answer.
     *
     * @return array<string, mixed>
     */
    public function notes(): array
    {
        $notes = ['messages' => $this->messages, 'warnings' => $this->warnings];
        return $this->metadata === [] ? $notes : $notes + ['metadata' => $this->metadata];
    }
}
