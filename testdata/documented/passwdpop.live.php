<?php
// The call of the page about Email::passwdpop of API 2.
require_once "/usr/local/cpanel/php/cpanel.php";
$cpanel = new CPANEL();

// Changes the mailbox's password.
$new_password = $cpanel->api2(
    'Email', 'passwdpop',
    array(
        'domain'   => 'example.com',
        'email'    => 'user',
        'password' => '12345luggage',
    )
);
print "result " . $new_password['cpanelresult']['data'][0]['result'] . " " . $new_password['cpanelresult']['data'][0]['reason'] . "\n";
$cpanel->end();
