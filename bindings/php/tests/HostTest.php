<?php

declare(strict_types=1);

namespace LiveAPI\Tests;

use CPANEL;
use LiveAPI\Exception\ConnectionException;
use LiveAPI\Exception\LiveApiException;
use PHPUnit\Framework\TestCase;

/**
 * Tests the class with a real host and a new sandbox, over pipes and over a socket.
 */
final class HostTest extends TestCase
{
    private const SOCKETS = ['CPANEL_PHPCONNECT_SOCKET', 'CPANEL_CONNECT_SOCKET', 'LIVEAPI_SOCKET'];

    private static string $bin;
    private static string $dir;

    /** @var resource|null */
    private static $host;

    public static function setUpBeforeClass(): void
    {
        self::$bin = (string) getenv('LIVEAPI_BIN');
        if (self::$bin === '') {
            self::markTestSkipped('LIVEAPI_BIN names no directory with liveapid');
        }
        self::$dir = sys_get_temp_dir() . '/lw' . bin2hex(random_bytes(4));
        self::runProgram('liveapi', 'sandbox', self::$dir);
        // The tests use passwords that are easy to tell apart.
        $config = self::$dir . '/liveapid.toml';
        $text = (string) file_get_contents($config);
        $off = str_replace("\nrequired_strength = 25", "\nrequired_strength = 0", $text);
        self::assertNotSame($text, $off);
        file_put_contents($config, $off);
        putenv('LIVEAPID_CONFIG=' . self::$dir . '/liveapid.toml');
        putenv('LIVEAPID=' . self::$bin . '/liveapid');
        putenv('HOME=' . self::$dir);
        self::$host = proc_open(
            [self::$bin . '/liveapid', 'serve'],
            [2 => ['file', self::$dir . '/log', 'w']],
            $pipes
        );
        for ($i = 0; @stream_socket_client('unix://' . self::socket()) === false; $i++) {
            self::assertLessThan(3000, $i, 'the host does not listen');
            usleep(20000);
        }
    }

    public static function tearDownAfterClass(): void
    {
        if (is_resource(self::$host)) {
            proc_terminate(self::$host);
            proc_close(self::$host);
        }
        $files = new \RecursiveIteratorIterator(
            new \RecursiveDirectoryIterator(self::$dir, \FilesystemIterator::SKIP_DOTS),
            \RecursiveIteratorIterator::CHILD_FIRST
        );
        foreach ($files as $file) {
            $file->isDir() && !$file->isLink() ? rmdir($file->getPathname()) : unlink($file->getPathname());
        }
        rmdir(self::$dir);
    }

    protected function setUp(): void
    {
        array_map(static fn (string $name) => putenv($name), self::SOCKETS);
        putenv('LIVEAPID=' . self::$bin . '/liveapid');
        putenv('LIVEAPI_ENCODING');
    }

    private static function socket(): string
    {
        return self::$dir . '/run/liveapi.sock';
    }

    private static function runProgram(string ...$command): void
    {
        $command[0] = self::$bin . '/' . $command[0];
        $process = proc_open($command, [1 => ['file', '/dev/null', 'w']], $pipes);
        if (!is_resource($process) || proc_close($process) !== 0) {
            throw new \RuntimeException("{$command[0]} failed");
        }
    }

    /**
     * @return array<string, array{string, string}>
     */
    public static function ways(): array
    {
        return [
            'stdio' => ['', ''],
            'stdio, JSON' => ['', 'json'],
            'LIVEAPI_SOCKET' => ['LIVEAPI_SOCKET', ''],
            'LIVEAPI_SOCKET, JSON' => ['LIVEAPI_SOCKET', 'json'],
            'CPANEL_CONNECT_SOCKET' => ['CPANEL_CONNECT_SOCKET', 'msgpack'],
            'CPANEL_PHPCONNECT_SOCKET' => ['CPANEL_PHPCONNECT_SOCKET', ''],
        ];
    }

    /**
     * @dataProvider ways
     */
    public function testChange(string $variable, string $encoding): void
    {
        putenv("LIVEAPI_ENCODING=$encoding");
        if ($variable !== '') {
            putenv($variable . '=' . self::socket());
        }
        $packed = $encoding === 'msgpack' || $encoding === '' && strpos($variable, 'CPANEL') !== 0;
        $this->assertSame($packed, \LiveAPI\Packed::available(), 'install php-msgpack');
        $cpanel = new CPANEL();
        foreach (['12345luggage', "\"$variable\": <&> 'quotes' \\ %41+", 'päß😀'] as $password) {
            $answer = $cpanel->api2(
                'Email',
                'passwdpop',
                array('domain' => 'example.com', 'email' => 'user', 'password' => $password)
            );
            $this->assertEquals([['reason' => '', 'result' => 1]], $answer['cpanelresult']['data']);
            $this->assertEquals([['reason' => '', 'result' => 1]], $cpanel->get_result());
            $try = static fn (string $text): array => $cpanel->uapi(
                'Email',
                'verify_password',
                ['email' => 'user@example.com', 'password' => $text]
            );
            $this->assertSame(1, $try($password)['cpanelresult']['result']['data']);
            $this->assertSame(0, $try("$password!")['cpanelresult']['result']['data']);
            $this->assertSame(0, $cpanel->get_result());
        }
        $refused = $cpanel->api3('Email', 'passwd_pop', ['email' => 'user', 'password' => "\xff"]);
        $this->assertSame(0, $refused['cpanelresult']['result']['status']);
        $this->assertMatchesRegularExpression(
            '/not valid UTF-8|invalid characters/',
            $refused['cpanelresult']['result']['errors'][0]
        );
        $this->assertSame(1, $cpanel->cpanelif('$user == demo && !$haspostgres'));
        $this->assertSame(0, $cpanel->cpanelif('$user == nobody'));
        $this->assertSame(1, $cpanel->cpanelfeature('fileman'));
        $this->assertSame('demo at example.com', $cpanel->cpanelprint('$user at $domain'));
        $this->assertSame('Hello', $cpanel->cpanellangprint('Hello'));
        $this->assertSame('demo', $cpanel->fetch('$user')['cpanelresult']['data']['result']);
        $this->assertSame('demo', $cpanel->get_result());
        $tag = '<?cp Email::passwdpop(%, result) domain="$domain" email=user password=x ?>';
        $this->assertSame([['result' => 1]], $cpanel->exec($tag)['cpanelresult']['data']);
        $unknown = $cpanel->api1('Email', 'nothing', ['a', 'b']);
        $this->assertSame(0, $unknown['cpanelresult']['event']['result']);
        $args = ['page_title' => 5, 'app_key' => null, 'x' => [true, ['y' => 1.5]]];
        $flags = $cpanel->uapi('Chrome', 'get_dom', $args);
        $this->assertSame(1, $flags['cpanelresult']['result']['status']);
        $this->assertStringContainsString('<title>Mail &amp; more</title>', $cpanel->header('Mail & more', 'mail'));
        $this->assertStringContainsString('</html>', $cpanel->footer());
        $this->assertNull($cpanel->exec('<cpanel print="$user">', 1));
        $cpanel->end();
        $cpanel->end();
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessage('The LivePHP Socket has closed, unable to continue.');
        $cpanel->uapi('Email', 'verify_password');
    }

    public function testNoHost(): void
    {
        putenv('LIVEAPI_SOCKET=/nowhere/socket');
        try {
            new CPANEL();
            $this->fail('it connected');
        } catch (\RuntimeException $e) {
            $this->assertInstanceOf(LiveApiException::class, $e);
            $this->assertStringContainsString('/nowhere/socket: could not connect to a LiveAPI host', $e->getMessage());
        }
        putenv('LIVEAPI_SOCKET');
        putenv('LIVEAPID=/nowhere/liveapid');
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessage("/nowhere/liveapid: could not start the LiveAPI host");
        new CPANEL();
    }

    public function testDebugLog(): void
    {
        $cpanel = new CPANEL();
        $this->assertSame(0, $cpanel->get_debug_level());
        $this->assertSame(0, $cpanel->debug_log(9, 'nothing'));
        $log = $cpanel->get_debug_log();
        $this->assertStringStartsWith(self::$dir . '/.cpanel/LiveAPI.log.', $log);
        $this->assertFileDoesNotExist($log);
        $this->assertSame(1, $cpanel->set_debug(1));
        $this->assertSame(1, $cpanel->debug_log(1, "a\nb"));
        // The texts 'false' and '0' are not true.
        $this->assertSame(1, $cpanel->debug_log(1, 'only in the log', 'false'));
        $this->assertSame(0, $cpanel->debug_log(0, 'nowhere', 'false'));
        $this->assertSame(1, $cpanel->debug_log_json(['a' => 1]));
        $cpanel->api2('Email', 'passwdpop', ['domain' => 'example.com', 'email' => 'user', 'password' => 'c4n4ry']);
        $text = (string) file_get_contents($log);
        $this->assertStringContainsString('a\nb', $text);
        $this->assertStringContainsString('{"a":1}', $text);
        $this->assertStringContainsString('Email::passwdpop', $text);
        $this->assertStringNotContainsString('c4n4ry', $text);
        $this->assertSame(0600, fileperms($log) & 0777);
    }
}
