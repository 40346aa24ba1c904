<?php

declare(strict_types=1);

namespace LiveAPI\Tests;

use LiveAPI\Exception\UsageException;
use LiveAPI\Module;
use LiveAPI\ModuleCall;
use PHPUnit\Framework\TestCase;

final class ModuleTest extends TestCase
{
    /**
     * @param  mixed $args
     * @param  array<string, mixed> $account
     * @return array<string, mixed>
     */
    private static function request(string $func, $args, int $api = 3, array $account = []): array
    {
        $account += ['name' => 'alice', 'home' => '/home/alice', 'uid' => 1001];
        $account += ['domains' => ['a.example', 'b.example']];
        return ['call' => [
            'id' => 'abc123', 'api' => $api, 'module' => 'M', 'func' => $func, 'args' => $args, 'role' => 'account',
            'account' => $account,
        ]];
    }

    public function testDescribes(): void
    {
        $module = new Module('M', 'Tests.');
        $param = ['name' => 'p', 'required' => true, 'type' => 'secret', 'help' => 'P.'];
        $module->uapi('look', [
            'help' => 'Looks.', 'returns' => 'Much.', 'roles' => ['account', 'mailbox'], 'changes' => true,
            'open' => true, 'feature' => 'f', 'params' => [$param],
        ], static fn () => null);
        $module->api2('list', [], static fn () => []);
        $module->api1('show', [], static fn () => '');
        $least = ['help' => '', 'returns' => '', 'feature' => '', 'roles' => ['account'], 'changes' => false,
            'open' => false, 'params' => []];
        $answer = $module->answer(['describe' => ['settings' => []]]);
        foreach ($answer['modules'][0]['functions'] as &$function) {
            self::assertMatchesRegularExpression('/ModuleTest\.php line [0-9]+$/', $function['source']);
            unset($function['source']);
        }
        self::assertEquals(['modules' => [['name' => 'M', 'help' => 'Tests.', 'functions' => [
            ['api' => 3, 'name' => 'look', 'help' => 'Looks.', 'returns' => 'Much.', 'feature' => 'f',
                'changes' => true, 'roles' => ['account', 'mailbox'], 'open' => true, 'params' => [$param]],
            ['api' => 2, 'name' => 'list'] + $least,
            ['api' => 1, 'name' => 'show'] + $least,
        ]]]], $answer);
    }

    /**
     * A word that is not known is refused, so that a misspelled word is noticed.
     *
     * @dataProvider unknownWords
     * @param array<string, mixed> $about
     */
    public function testUnknownWords(array $about, string $says): void
    {
        $this->expectException(UsageException::class);
        $this->expectExceptionMessage($says);
        (new Module('M'))->uapi('x', $about, static fn () => null);
    }

    /**
     * @return array<int, array{0: array<string, mixed>, 1: string}>
     */
    public static function unknownWords(): array
    {
        return [
            [['parms' => []], 'the function x: unknown key parms: the keys are help, returns, example, params'],
            [['roles' => ['owner']], 'the function x: unknown role owner: the roles are account, mailbox, admin'],
            [['params' => [['name' => 'p', 'typ' => 'string']]], 'the function x: a parameter: unknown key typ'],
            [['params' => [['name' => 'p', 'type' => 'text']]], 'the function x: a parameter: unknown type text'],
            [['params' => ['p']], 'the function x: a parameter must be an array with a name'],
        ];
    }

    public function testDone(): void
    {
        $done = static function (ModuleCall $call) {
            $call->warn('w');
            return $call->done();
        };
        $module = (new Module('M'))->uapi('done', [], $done)->api2('done', [], $done);
        self::assertNull($module->answer(self::request('done', []))['data']);
        $record = ['result' => 1, 'reason' => 'w'];
        self::assertSame([$record], $module->answer(self::request('done', [], 2))['data']);
    }

    public function testSettings(): void
    {
        $seen = null;
        $module = (new Module('M'))->configure(static function (array $settings) use (&$seen): void {
            if (isset($settings['bad'])) {
                (new ModuleCall([]))->fail('setting bad: must not be given');
            }
            $seen = $settings;
        });
        $module->answer(['describe' => ['settings' => ['a' => 1]]]);
        self::assertSame(['a' => 1], $seen);
        self::assertSame(
            ['error' => ['kind' => 'invalid', 'message' => 'setting bad: must not be given']],
            $module->answer(['describe' => ['settings' => ['bad' => 1]]])
        );
    }

    public function testCall(): void
    {
        $module = (new Module('M'))->uapi('look', [], static function (ModuleCall $call): array {
            $call->message('mé');
            $call->warn('w');
            $call->metadata('k', [1]);
            return [
                $call->get('p'), $call->get('q', 'else'), $call->has('p'), $call->has('q'), $call->args(),
                $call->user(), $call->home(), $call->domains(), $call->role(), $call->id(), $call->account()['uid'],
                $call->hasFeature('f'), $call->hasFeature('g'), 1.5, NAN, new \stdClass(),
                new \ArrayIterator(['a' => 1]), "\xff",
            ];
        });
        $answer = $module->answer(self::request('look', ['p' => 'x'], 3, ['features' => ['f']]));
        self::assertEquals([
            'data' => [
                'x', 'else', true, false, ['p' => 'x'], 'alice', '/home/alice', ['a.example', 'b.example'], 'account',
                'abc123', 1001, true, false, 1.5, null, new \stdClass(), ['a' => 1], ['$base64' => '/w=='],
            ],
            'messages' => ['mé'], 'warnings' => ['w'], 'metadata' => ['k' => [1]],
        ], $answer);
        $data = $module->answer(self::request('look', null))['data'];
        self::assertTrue($data[12], 'without a list it has all features');
    }

    public function testApisAreApart(): void
    {
        $module = new Module('M');
        $module->api2('f', [], static fn () => [['a' => 1]])->api1('f', [], static fn () => 'shown');
        self::assertSame([['a' => 1]], $module->answer(self::request('f', [], 2))['data']);
        self::assertSame('shown', $module->answer(self::request('f', [], 1))['data']);
    }

    public function testFailures(): void
    {
        $module = new Module('M');
        $module->uapi('fail', [], static fn (ModuleCall $call) => $call->fail('No “x”.', 'not_found'));
        $module->uapi('refuse', [], static fn (ModuleCall $call) => $call->fail('no'));
        foreach (['fail' => ['not_found', 'No “x”.'], 'refuse' => ['invalid', 'no']] as $func => [$kind, $message]) {
            $expected = ['error' => ['kind' => $kind, 'message' => $message]];
            self::assertSame($expected, $module->answer(self::request($func, [])));
        }
    }

    /**
     * If a function throws, or returns a value that can't be sent, the answer has the cause, for the
     * log. It has no traces, because their arguments may be passwords.
     */
    public function testFaults(): void
    {
        $program = <<<'PHP'
            require $argv[1];
            $m = new LiveAPI\Module('M');
            $throw = function ($p) { throw new Exception('why'); };
            $m->uapi('throw', [], function ($call) use ($throw) { $throw($call->get('p')); });
            $m->uapi('resource', [], fn () => fopen('php://memory', 'r'));
            $m->uapi('deep', [], function () { $d = 1; for ($i = 0; $i < 40; $i++) { $d = [$d]; } return $d; });
            $m->uapi('kind', [], fn ($call) => $call->fail('no', 'wrong'));
            foreach (['throw', 'resource', 'deep', 'kind', 'none'] as $f) {
                $call = ['id' => 'abc123', 'api' => 3, 'func' => $f, 'args' => ['p' => 'c4n4ry'], 'account' => []];
                echo json_encode($m->answer(['call' => $call])), "\n";
            }
            PHP;
        $pipes = [];
        $process = proc_open(
            [PHP_BINARY, '-r', $program, '--', dirname(__DIR__) . '/module.php'],
            [1 => ['pipe', 'w'], 2 => ['pipe', 'w']],
            $pipes
        );
        self::assertIsResource($process);
        $out = stream_get_contents($pipes[1]);
        $log = (string) stream_get_contents($pipes[2]);
        self::assertSame(0, proc_close($process), $log);
        $causes = [];
        foreach (explode("\n", trim((string) $out)) as $line) {
            $error = json_decode($line, true)['error'];
            self::assertSame(['internal', ''], [$error['kind'], $error['message']]);
            $causes[] = $error['cause'];
        }
        self::assertSame([
            'Exception: why in Command line code line 3',
            "the result: a value of type resource can't be sent: use text, numbers, booleans, null and arrays",
            'the result: the values are nested deeper than 32, or contain themselves',
            'LiveAPI\\Exception\\UsageException: fail: unknown kind wrong: the kinds are invalid, not_found, failed,'
                . ' denied, unavailable in Command line code line 7',
            'the module has no function none',
        ], $causes);
        self::assertStringNotContainsString('c4n4ry', $log . $out);
    }

    public function testNobodyElseStartsAModule(): void
    {
        $this->expectException(UsageException::class);
        (new Module('M'))->serve();
    }
}
