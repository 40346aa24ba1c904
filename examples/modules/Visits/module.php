<?php

// A module in PHP. It counts visits while its worker runs.

declare(strict_types=1);

use LiveAPI\Module;
use LiveAPI\ModuleCall;

$visits = [];
$module = new Module('Visits', 'Counts visits to pages.');

$module->uapi(
    'count',
    [
        'help' => 'Count a visit.',
        'returns' => 'The number of visits to the page.',
        'changes' => true,
        'params' => [['name' => 'page', 'required' => true, 'help' => 'The page.']],
    ],
    static function (ModuleCall $call) use (&$visits) {
        $page = $call->get('page');
        if (strlen($page) > 200) {
            $call->fail('The ‘page’ argument must have at most 200 bytes.');
        }
        $visits[$page] = ($visits[$page] ?? 0) + 1;
        return ['page' => $page, 'visits' => $visits[$page]];
    }
);

$module->api2('list', ['help' => 'List the pages.'], static function () use (&$visits): array {
    $records = [];
    foreach ($visits as $page => $count) {
        $records[] = ['page' => (string) $page, 'visits' => $count];
    }
    return $records;
});

$module->serve();
