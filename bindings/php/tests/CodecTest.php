<?php

declare(strict_types=1);

namespace LiveAPI\Tests;

use LiveAPI\Codec;
use LiveAPI\Exception\ConnectionException;
use LiveAPI\Exception\LiveApiException;
use LiveAPI\Exception\UsageException;
use PHPUnit\Framework\TestCase;

final class CodecTest extends TestCase
{
    /**
     * @return array<string, array{mixed, string}>
     */
    public static function arguments(): array
    {
        return [
            'an empty array' => [[], '[]'],
            'an empty object' => [new \stdClass(), '{}'],
            'named' => [['a' => 'x', 'b' => 1], '{"a":"x","b":1}'],
            'a list' => [['x', 2, null], '["x",2,null]'],
            'keys that are not in order' => [[1 => 'a', 0 => 'b'], '{"1":"a","0":"b"}'],
            'nested' => [['a' => ['b' => ['c']]], '{"a":{"b":["c"]}}'],
            "cPanel's booleans" => [['a' => true, 'b' => false], '{"a":1,"b":0}'],
            'numbers' => [[1, 1.5, -2, 0.1], '[1,1.5,-2,0.1]'],
            'escapes' => [['p' => "\"\\\n\0</cpanelaction>"], '{"p":"\"\\\\\u000a\u0000\u003c/cpanelaction\u003e"}'],
            'UTF-8 as it is' => [['p' => 'pä😀'], '{"p":"pä😀"}'],
            'bytes that are no text, as they are' => [['p' => "\xff"], "{\"p\":\"\xff\"}"],
            'one text' => ['$user', '"$user"'],
            'an iterator' => [new \ArrayIterator(['a' => 1]), '{"a":1}'],
            'what can be text' => [[new \Exception('x')], null],
        ];
    }

    /**
     * @dataProvider arguments
     * @param mixed $args
     */
    public function testArguments($args, ?string $want): void
    {
        $action = Codec::action('exec', 2, 'M', 'f', $args);
        $head = "<cpanelaction>\n" . '{"reqtype":"exec","module":"M","func":"f","apiversion":"2"';
        $this->assertStringStartsWith($head, $action);
        if ($want !== null) {
            $this->assertSame($head . ',"args":' . $want . "}\n</cpanelaction>", $action);
        }
    }

    public function testNoArguments(): void
    {
        $this->assertStringNotContainsString('args', Codec::action('exec', '1', 'M', 'f', null));
        $this->assertSame("3\nabc", Codec::frame('abc'));
        $this->assertSame("2\nä", Codec::frame('ä'), 'bytes are counted');
    }

    public function testWhatCannotBeSent(): void
    {
        $loop = [];
        $loop['loop'] = &$loop;
        foreach ([[fopen('php://memory', 'r')], [static fn () => 1], [NAN], [INF], $loop] as $args) {
            try {
                Codec::action('exec', '2', 'M', 'f', $args);
                $this->fail('it was sent');
            } catch (LiveApiException $e) {
                $this->assertInstanceOf(UsageException::class, $e);
            }
        }
    }

    public function testAnswers(): void
    {
        $answer = "<?xml version=\"1.0\" ?>\n<cpanelresult>{\"a\":\"ä\"}</cpanelresult>\n";
        foreach ([[$answer . $answer], str_split($answer . $answer), [$answer, $answer]] as $pieces) {
            $transport = new StringTransport(...$pieces);
            $rest = '';
            for ($i = 0; $i < 2; $i++) {
                $json = Codec::readAnswer($transport, $rest);
                $this->assertSame(['cpanelresult' => ['a' => 'ä']], Codec::decode($json, 'test'));
            }
        }
        $this->assertSame(['cpanelresult' => ['b' => 1]], Codec::decode('{"cpanelresult":{"b":1}}', 'test'));
    }

    public function testBrokenAnswers(): void
    {
        foreach (
            [
                '<?xml version="1.0" ?>' => 'closed the session after 22 bytes',
                'hello</cpanelresult>' => 'does not begin with <cpanelresult>',
            ] as $text => $says
        ) {
            try {
                $rest = '';
                Codec::readAnswer(new StringTransport($text), $rest);
                $this->fail('it was read');
            } catch (ConnectionException $e) {
                $this->assertStringContainsString($says, $e->getMessage());
            }
        }
        foreach (['', '"x"', '{', 'nul'] as $json) {
            try {
                Codec::decode($json, 'there');
                $this->fail('it was decoded');
            } catch (ConnectionException $e) {
                $this->assertStringContainsString('there: the response is not a LiveAPI answer', $e->getMessage());
            }
        }
    }
}
