<?php
// The call of the page about Email::passwd_pop of UAPI, with the error handling that the page shows.
require_once "/usr/local/cpanel/php/cpanel.php";
header('Content-Type: text/plain');
$cpanel = new CPANEL();

$response = $cpanel->uapi(
    'Email',
    'passwd_pop',
    array (
        'email'    => 'user@example.com',
        'password' => '12345luggage',
    )
);

if ($response['cpanelresult']['result']['status']) {
    $data = $response['cpanelresult']['result']['data'];
    print "data " . to_json($data) . "\n";
}
else {
    print "errors " . to_json($response['cpanelresult']['result']['errors']);
}
$cpanel->end();

function to_json($data) {
    return json_encode($data, JSON_PRETTY_PRINT);
}
