<?php

// liveapi dev makes PHP load this file before a page. It reports the page's errors, one JSON document on each line, to
// the file that LIVEAPI_PAGE_REPORT names. Arguments of functions are left out, because they may be passwords.

(static function (): void {
    $path = getenv('LIVEAPI_PAGE_REPORT');
    $write = static function (string $kind, string $type, string $message, string $file, int $line, array $trace) use ($path): void {
        $stack = [['file' => $file, 'line' => $line, 'function' => '']];
        foreach ($trace as $frame) {
            // The function in which the previous place is.
            $function = ($frame['class'] ?? '') . ($frame['type'] ?? '') . ($frame['function'] ?? '');
            $stack[count($stack) - 1]['function'] = $function;
            $stack[] = ['file' => $frame['file'] ?? '', 'line' => $frame['line'] ?? 0, 'function' => ''];
        }
        $report = ['kind' => $kind, 'type' => $type, 'message' => $message, 'file' => $file, 'line' => $line, 'stack' => $stack];
        $flags = JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;
        @file_put_contents((string) $path, json_encode($report, $flags) . "\n", FILE_APPEND);
    };
    $names = [
        E_ERROR => 'Fatal error', E_PARSE => 'Parse error', E_CORE_ERROR => 'Fatal error', E_COMPILE_ERROR => 'Fatal error',
        E_USER_ERROR => 'Fatal error', E_RECOVERABLE_ERROR => 'Fatal error', E_WARNING => 'Warning', E_USER_WARNING => 'Warning',
        E_CORE_WARNING => 'Warning', E_COMPILE_WARNING => 'Warning', E_NOTICE => 'Notice', E_USER_NOTICE => 'Notice',
        E_DEPRECATED => 'Deprecated', E_USER_DEPRECATED => 'Deprecated',
    ];
    $told = false;
    set_exception_handler(static function (\Throwable $fault) use ($write, &$told): void {
        $told = true;
        $write('fatal', get_class($fault), $fault->getMessage(), $fault->getFile(), $fault->getLine(), $fault->getTrace());
        restore_exception_handler();
        throw $fault; // PHP goes on as without this handler.
    });
    set_error_handler(static function (int $level, string $message, string $file, int $line) use ($write, $names, &$told): bool {
        if (error_reporting() & $level) {
            $fatal = $level === E_USER_ERROR || $level === E_RECOVERABLE_ERROR;
            $told = $told || $fatal;
            $trace = array_slice(debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS), 1);
            $write($fatal ? 'fatal' : 'warning', $names[$level] ?? 'Error', $message, $file, $line, $fatal ? $trace : []);
        }
        return false; // PHP goes on as without this handler.
    });
    register_shutdown_function(static function () use ($write, $names, &$told): void {
        $last = error_get_last();
        $fatal = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR;
        if (!$told && $last !== null && ($last['type'] & $fatal)) {
            $write('fatal', $names[$last['type']], $last['message'], $last['file'], $last['line'], []);
        }
    });
})();
