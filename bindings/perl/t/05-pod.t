use strict;
use warnings;
use Test::More;

eval { require Test::Pod; require Test::Pod::Coverage; 1 } or plan skip_all => 'Test::Pod and Test::Pod::Coverage are not installed';

my @modules = (
    (map { "Cpanel::$_" } qw(LiveAPI LiveAPI::Codec LiveAPI::Packed LiveAPI::Transport)),
    (map { "LiveAPI::$_" } qw(Module Module::Call Module::Custom)),
);
for my $module (@modules) {
    (my $file = "lib/$module.pm") =~ s{::}{/}g;
    Test::Pod::pod_file_ok($file);
    Test::Pod::Coverage::pod_coverage_ok($module, {also_private => [qr/\A[A-Z]+\z/]});
}

done_testing;
