<?php

// Changes a password by Roundcube's own password plugin, with its cPanel driver as Debian ships it.
// Usage: php roundcube.php PORT ADDRESS < "current password\nnew password\n"

define('INSTALL_PATH', '/usr/share/roundcube/');
define('RCMAIL_CONFIG_DIR', '/etc/roundcube');
require INSTALL_PATH . 'program/include/iniset.php';

[, $port, $address] = $argv;
$current = rtrim(fgets(STDIN), "\n");
$new = rtrim(fgets(STDIN), "\n");

$rcmail = rcmail::get_instance(0, 'cli');
$rcmail->config->set('password_cpanel_host', '127.0.0.1');
$rcmail->config->set('password_cpanel_port', (int) $port);
$rcmail->config->set('password_username_format', '%u');
$rcmail->set_user(new rcube_user(null, ['user_id' => 1, 'username' => $address, 'mail_host' => '127.0.0.1', 'language' => null, 'preferences' => '']));
$_SESSION['storage_host'] = '127.0.0.1';

require INSTALL_PATH . 'plugins/password/password.php';
foreach (['SUCCESS' => 0, 'CRYPT_ERROR' => 1, 'ERROR' => 2, 'CONNECT_ERROR' => 3] as $name => $value) {
    defined("PASSWORD_$name") || define("PASSWORD_$name", $value);
}
require INSTALL_PATH . 'plugins/password/drivers/cpanel.php';

$result = (new rcube_cpanel_password())->save($current, $new);
echo json_encode(is_array($result) ? $result : ['code' => $result]), "\n";
