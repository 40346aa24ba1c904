<?php

/**
 * Loads LiveAPI\Module without composer. The host makes PHP load this file before a module's
 * module.php, so that the module's output does not mix with the answers to the host.
 */

declare(strict_types=1);

require_once __DIR__ . '/src/Exception/LiveApiException.php';
require_once __DIR__ . '/src/Exception/UsageException.php';
require_once __DIR__ . '/src/Exception/ModuleFailure.php';
require_once __DIR__ . '/src/ModuleCall.php';
require_once __DIR__ . '/src/Module.php';

if (getenv('LIVEAPI_MODULE') !== false) {
    set_exception_handler(static function (\Throwable $fault): void {
        fwrite(fopen('php://stderr', 'wb'), 'PHP: ' . LiveAPI\Module::explain($fault) . "\n");
        exit(255);
    });
    LiveAPI\Module::takeStreams();
}
