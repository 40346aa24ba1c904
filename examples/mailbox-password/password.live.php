<?php

/**
 * A page of a plugin: change a mailbox's password. It runs unchanged under liveapid and on
 * a cPanel server, where cpanel.php lies in /usr/local/cpanel/php.
 */

declare(strict_types=1);

$upstream = '/usr/local/cpanel/php/cpanel.php';
require_once file_exists($upstream) ? $upstream : __DIR__ . '/../../bindings/php/cpanel.php';

$cpanel = new CPANEL();
$html = static fn (string $text): string => htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');

$message = '';
if (($_SERVER['REQUEST_METHOD'] ?? '') === 'POST') {
    $answer = $cpanel->api2('Email', 'passwdpop', [
        'domain' => $_POST['domain'] ?? '',
        'email' => $_POST['email'] ?? '',
        'password' => $_POST['password'] ?? '',
    ]);
    $record = $answer['cpanelresult']['data'][0] ?? ['result' => 0, 'reason' => $answer['cpanelresult']['error'] ?? ''];
    $message = $record['result'] == 1 ? 'The password was changed.' : $record['reason'];
}

echo $cpanel->header('Change a password', 'mailbox-password');
if ($message !== '') {
    echo '<p role="status">', $html($message), "</p>\n";
}
$domain = $html($cpanel->cpanelprint('$domain'));
echo <<<HTML
<form method="post">
<p><label>Mailbox <input name="email" required></label> <label>@ <input name="domain" value="$domain" required></label></p>
<p><label>New password <input name="password" type="password" autocomplete="new-password" required></label></p>
<p><button>Change</button></p>
</form>

HTML;
echo $cpanel->footer();
$cpanel->end();
