<?php

declare(strict_types=1);

$module = require __DIR__ . '/module.php';

$call = static function (string $function, array $args) use ($module): array {
    return $module->answer(['call' => [
        'id' => 'test', 'api' => 3, 'module' => '<%.Name%>', 'func' => $function, 'args' => $args, 'role' => 'account',
        'account' => ['name' => 'alice', 'home' => '/home/alice', 'domains' => ['example.com']],
    ]]);
};

$failed = 0;
$check = static function (string $what, bool $good) use (&$failed): void {
    echo $good ? 'ok' : 'not ok', " - $what\n";
    $failed += $good ? 0 : 1;
};

$greeting = $call('greet', ['name' => 'Zoe'])['data'] ?? null;
$check('a greeting', $greeting === ['greeting' => 'Hello, Zoe! You are alice.']);
$refused = $call('greet', ['name' => str_repeat('x', 81)])['error']['kind'] ?? null;
$check('a long name is refused', $refused === 'invalid');

exit($failed > 0 ? 1 : 0);
