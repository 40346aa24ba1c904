package LiveAPI::Module::Custom;

use strict;
use warnings;
use 5.016;

use B    ();
use Carp ();

use LiveAPI::Module ();

our $VERSION = '0.1.0';

# The variables of the account that custom modules may read. Cpanel.pm exists only here.
BEGIN { $INC{'Cpanel.pm'} = __FILE__ }    ## no critic (RequireLocalizedPunctuationVars)

{

    package Cpanel;
    our ($user, $homedir, %CPDATA);
}

sub serve {
    my ($class, $name, $file) = @_;
    LiveAPI::Module->import;                # Before the module's own code runs.
    return $class->load($name, $file)->serve;
}

sub load {
    my ($class, $name, $file) = @_;
    Carp::croak("usage: $class->load(\$name, \$file)") if !defined $file;
    my $package = "Cpanel::API::$name";
    _require($file);
    my $module = LiveAPI::Module->new(name => $name, help => "The custom module $package.");
    my $about  = do { no strict 'refs'; \%{"${package}::API"} };    ## no critic (ProhibitNoStrict)
    my $gate   = _gate($package, '%API', $about->{_needs_feature});
    my @functions = _functions($package);
    die "$file line 1: it defines no function in the package $package\n" if !@functions;
    for my $function (@functions) {
        my $spec = defined $about->{$function} ? $about->{$function} : {};
        die "$package: \$API{$function} must be a hash\n" if ref $spec ne 'HASH';
        my $code = $package->can($function);
        $module->uapi($function,
            help    => "The function ${package}::$function.",
            open    => 1,
            changes => 1,                   # Custom modules do not say, so assume that it does.
            feature => _gate($package, "\$API{$function}", $spec->{needs_feature}) || $gate,
            do      => sub { return _run($code, @_) },
        );
        $module->{functions}[-1]{describe}{source} = LiveAPI::Module::_source($code);
    }
    return $module;
}

sub _require {
    my ($file) = @_;
    return if eval { require $file };
    my $error = $@;
    die $error if $error !~ /\A\S+ did not return a true value /;
    open my $in, '<', $file or die $error;
    my $lines = () = <$in>;
    die "$file line $lines: a module must end with a true value: add the line 1;\n";
}

# If needs_feature is not understood, the module must not be served without the check.
sub _gate {
    my ($package, $where, $feature) = @_;
    return '' if !defined $feature;
    die "$package: $where: needs_feature must be the name of one feature\n" if ref $feature || !length $feature;
    return $feature;
}

# Returns the functions that the package itself defines, without imported functions.
sub _functions {
    my ($package) = @_;
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    my @names = sort grep { /\A[A-Za-z][A-Za-z0-9_]{0,63}\z/ && !/\A[A-Z]+\z/ && $_ ne 'import' } keys %{"${package}::"};
    return grep {
        my $code = defined &{"${package}::$_"} ? \&{"${package}::$_"} : undef;
        $code && B::svref_2object($code)->GV->STASH->NAME eq $package;
    } @names;
}

sub _run {
    my ($code, $call) = @_;
    my $account = $call->account;
    my ($domain) = $call->domains;
    no warnings 'once';    ## no critic (ProhibitNoWarnings)
    local $Cpanel::user    = $call->user;
    local $Cpanel::homedir = $call->home;
    local %Cpanel::CPDATA  = (
        %{$account->{data} || {}},
        USER => $call->user,
        (defined $domain ? (DNS => $domain, DOMAIN => $domain) : ()),
    );
    local @ENV{qw(HOME USER REMOTE_USER)} = ($call->home, $call->user, $call->user);
    my $result = LiveAPI::Module::Custom::Result->new;
    my $status = $code->(LiveAPI::Module::Custom::Args->new($call->args), $result);
    $call->message($_) for @{$result->{messages}};
    $call->warn($_)    for @{$result->{warnings}};
    $call->metadata($_, $result->{metadata}{$_}) for keys %{$result->{metadata}};
    return $result->{data} if $status;
    my $why = join "\n", @{$result->{errors}};
    return $call->fail(length $why ? $why : 'The function failed and gave no reason.', 'failed');
}

package LiveAPI::Module::Custom::Args;

sub new { my ($class, $args) = @_; return bless {args => $args}, $class }

sub exists { my ($self, $name) = @_; return exists $self->{args}{$name} ? 1 : 0 }

sub get {
    my ($self, @names) = @_;
    return wantarray ? @{$self->{args}}{@names} : $self->{args}{$names[-1]};
}

sub get_required {
    my ($self, @names) = @_;
    for my $name (@names) {
        _missing($name) if !defined $self->{args}{$name};
    }
    return $self->get(@names);
}

sub get_length_required {
    my ($self, @names) = @_;
    for my $name (@names) {
        _missing($name) if !defined $self->{args}{$name} || !length $self->{args}{$name};
    }
    return $self->get(@names);
}

sub _missing {
    my ($name) = @_;
    return LiveAPI::Module::Call->fail("Provide the \xe2\x80\x98$name\xe2\x80\x99 argument.");
}

package LiveAPI::Module::Custom::Result;

sub new { my ($class) = @_; return bless {data => undef, errors => [], messages => [], warnings => [], metadata => {}}, $class }

sub data {
    my ($self, @data) = @_;
    $self->{data} = @data > 1 ? [@data] : $data[0] if @data;
    return $self->{data};
}

sub error       { my ($self, @text) = @_; push @{$self->{errors}},   _maketext(@text); return }
sub message     { my ($self, @text) = @_; push @{$self->{messages}}, _maketext(@text); return }
sub warning     { my ($self, @text) = @_; push @{$self->{warnings}}, _maketext(@text); return }
sub raw_error   { my ($self, $text) = @_; push @{$self->{errors}},   $text;            return }
sub raw_message { my ($self, $text) = @_; push @{$self->{messages}}, $text;            return }
sub raw_warning { my ($self, $text) = @_; push @{$self->{warnings}}, $text;            return }

sub metadata {
    my ($self, $key, $value) = @_;
    $self->{metadata}{$key} = $value if @_ > 2;
    return $self->{metadata}{$key};
}

# Texts are in bracket notation: [_1] is the first argument, and ~ quotes the next character.
sub _maketext {
    my ($phrase, @args) = @_;
    return '' if !defined $phrase;
    $phrase =~ s{~(.)|\[_([0-9]+)\]}{defined $1 ? $1 : defined $args[$2 - 1] ? $args[$2 - 1] : ''}gse;
    return $phrase;
}

1;

__END__

=head1 NAME

LiveAPI::Module::Custom - serve a custom UAPI module unchanged

=head1 SYNOPSIS

    # modules/Cpanel/API/Hello.pm
    package Cpanel::API::Hello;
    use strict;
    use warnings;

    our %API = (greet => {needs_feature => 'greetings'});

    sub greet {
        my ($args, $result) = @_;
        my $name = $args->get_length_required('name');
        $result->data({greeting => "Hello, $name!"});
        return 1;
    }

    1;

=head1 DESCRIPTION

Each function that the package defines is a UAPI function of the module, unless its name begins
with an underscore. The host runs this class. Modules do not load it.

C<$args> has C<get>, C<get_required>, C<get_length_required> and C<exists>; C<$result> has
C<data>, C<error>, C<message>, C<warning>, C<metadata> and the C<raw_> forms, which do not
interpret bracket notation. A function returns its status: if the value is false, the call fails
with the errors. C<%API> may set C<needs_feature> for a function. C<$Cpanel::user>,
C<$Cpanel::homedir> and C<%Cpanel::CPDATA> describe the account of the call. Other parts of a
cPanel server are not available.

=head1 METHODS

=head2 load($name, $file)

Loads the file and returns its L<LiveAPI::Module>.

=head2 serve($name, $file)

Loads the file and serves it.

=cut
