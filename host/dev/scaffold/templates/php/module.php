<?php

// The module <%.Name%>. Edit it: a host in personal mode serves each change at the next call.

declare(strict_types=1);

use LiveAPI\Module;
use LiveAPI\ModuleCall;

$module = new Module('<%.Name%>', 'Greetings.');

$module->uapi(
    'greet',
    [
        'help' => 'Greet a person.',
        'returns' => 'The greeting.',
        'example' => ['greeting' => 'Hello, World! You are alice.'],
        'params' => [['name' => 'name', 'required' => true, 'help' => 'The name of the person.']],
    ],
    static function (ModuleCall $call): array {
        $name = $call->get('name');
        if (strlen($name) > 80) {
            $call->fail('The ‘name’ argument must have at most 80 bytes.');
        }
        return ['greeting' => "Hello, $name! You are {$call->user()}."];
    }
);

// The test loads this file without serving it.
if (getenv('LIVEAPI_MODULE') !== false) {
    $module->serve();
}

return $module;
