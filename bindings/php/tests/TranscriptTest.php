<?php

declare(strict_types=1);

namespace LiveAPI\Tests;

use CPANEL;
use LiveAPI\Codec;
use PHPUnit\Framework\TestCase;

/**
 * Replays the transcripts that the host's tests replay too.
 */
final class TranscriptTest extends TestCase
{
    public function testTranscripts(): void
    {
        $directory = (string) getenv('LIVEAPI_TRANSCRIPTS');
        if ($directory === '') {
            $this->markTestSkipped('LIVEAPI_TRANSCRIPTS names no directory of transcripts');
        }
        putenv('LIVEAPI_ENCODING=json'); // The transcripts are in JSON.
        $replayed = 0;
        foreach (glob("$directory/*.txt") ?: [] as $file) {
            $steps = $this->steps((string) file_get_contents($file));
            if ($steps !== []) {
                $this->replay(basename($file), $steps);
                $replayed++;
            }
        }
        putenv('LIVEAPI_ENCODING');
        $this->assertGreaterThanOrEqual(4, $replayed);
    }

    /**
     * @return list<array{method: list<mixed>, sent: string, answer?: string}>
     */
    private function steps(string $text): array
    {
        $steps = [];
        $method = null;
        foreach (explode("\n", $text) as $line) {
            if (strpos($line, '# binding: ') === 0) {
                $method = json_decode(substr($line, strlen('# binding: ')), true);
            } elseif (strpos($line, 'C: ') === 0 && $method !== null) {
                $steps[] = ['method' => $method, 'sent' => $this->unescape(substr($line, 3))];
                $method = null;
            } elseif (strpos($line, 'S: ') === 0 && $steps !== [] && !isset($steps[count($steps) - 1]['answer'])) {
                $steps[count($steps) - 1]['answer'] = substr($line, 3);
            }
        }
        return $steps;
    }

    private function unescape(string $text): string
    {
        $bytes = ['\n' => "\n", '\r' => "\r", '\\\\' => '\\'];
        return (string) preg_replace_callback(
            '/\\\\(?:x(..)|.)/',
            static fn (array $m): string => isset($m[1]) ? chr((int) hexdec($m[1])) : $bytes[$m[0]],
            $text
        );
    }

    /**
     * @param list<array{method: list<mixed>, sent: string, answer?: string}> $steps
     */
    private function replay(string $name, array $steps): void
    {
        $transport = new StringTransport();
        $cpanel = null;
        foreach ($steps as $step) {
            $args = $step['method'];
            $method = array_shift($args);
            $answer = $step['answer'] ?? '';
            $transport->sent = '';
            $transport->pieces = ["<?xml version=\"1.0\" ?>\n<cpanelresult>$answer</cpanelresult>\n"];
            $got = null;
            if ($method === 'new') {
                $cpanel = new CPANEL($transport);
            } else {
                // A binding passes "no arguments" as PHP does: an empty list.
                $got = $cpanel->$method(...$args);
            }
            $want = str_replace('"args":{}', '"args":[]', $step['sent']);
            $this->assertSame(Codec::frame($want), $transport->sent, "$name: $method");
            if (is_array($got)) {
                $this->assertSame(Codec::decode($answer, $name), $got, "$name: $method");
            }
        }
    }
}
