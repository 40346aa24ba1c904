package LiveAPI::Module;

use strict;
use warnings;
use 5.016;

use B                      ();
use Carp                   ();
use Encode                 ();
use IO::Handle             ();
use POSIX                  ();
use JSON::PP               ();
use MIME::Base64           ();
use LiveAPI::Module::Call  ();

our $VERSION = '0.1.0';

my $DEPTH    = 32;
my $MAX      = 16 << 20;           # Bytes of one document.
my $BYTES    = '$base64';          # The key for text that is not UTF-8.
my %API      = (api1 => 1, api2 => 2, uapi => 3);
my @TYPES    = qw(string secret integer flag any);
my @ROLES    = qw(account mailbox admin);
my ($IN, $OUT, $OWNER);

# The host uses standard input and output. Output of the module's own code must not mix with
# the answers, so both are replaced before that code runs.
sub import {
    _take_streams() if defined $ENV{LIVEAPI_MODULE} && !$IN;
    return;
}

sub new {
    my ($class, %options) = @_;
    Carp::croak('usage: LiveAPI::Module->new(name => $name)') if !defined $options{name};
    _only('a module', \%options, qw(name help));
    return bless {name => $options{name}, help => _or($options{help}, ''), functions => []}, $class;
}

sub api1 { my ($self, @rest) = @_; return $self->_add('api1', @rest) }
sub api2 { my ($self, @rest) = @_; return $self->_add('api2', @rest) }
sub uapi { my ($self, @rest) = @_; return $self->_add('uapi', @rest) }

sub _add {
    my ($self, $api, $name, %f) = @_;
    Carp::croak("usage: \$module->$api(\$name, do => sub { ... })") if !defined $name || ref $f{do} ne 'CODE';
    _only("the function $name", \%f, qw(do help returns example params roles changes feature open));
    for my $role (@{_or($f{roles}, [])}) {
        Carp::croak("the function $name: unknown role $role: the roles are @ROLES") if !grep { $_ eq $role } @ROLES;
    }
    push @{$self->{functions}}, {
        do       => $f{do},
        describe => {
            api     => $API{$api},
            name    => "$name",
            help    => _or($f{help},    ''),
            returns => _or($f{returns}, ''),
            feature => _or($f{feature}, ''),
            roles   => [@{_or($f{roles}, ['account'])}],
            changes => $f{changes} ? JSON::PP::true() : JSON::PP::false(),
            open    => $f{open}    ? JSON::PP::true() : JSON::PP::false(),
            params  => [map { _param($name, $_) } @{_or($f{params}, [])}],
            source  => _source($f{do}),
            (defined $f{example} ? (example => _clean($f{example}, 0)) : ()),
        },
    };
    return $self;
}

# A key that is not known is an error, so that a misspelled key is noticed.
sub _only {
    my ($where, $given, @known) = @_;
    for my $key (sort keys %$given) {
        Carp::croak("$where: unknown key $key: the keys are @known") if !grep { $_ eq $key } @known;
    }
    return;
}

# Returns the place of a function's code, for messages.
sub _source {
    my ($code) = @_;
    my $cv    = B::svref_2object($code);
    my $start = $cv->START;
    return $start->can('line') ? $cv->FILE . ' line ' . $start->line : $cv->FILE;
}

sub _param {
    my ($function, $p) = @_;
    my $where = "the function $function: a parameter";
    Carp::croak("$where must be a hash with a name") if ref $p ne 'HASH' || !defined $p->{name};
    _only($where, $p, qw(name type required help));
    my $type = _or($p->{type}, 'string');
    Carp::croak("$where: unknown type $type: the types are @TYPES") if !grep { $_ eq $type } @TYPES;
    return {
        name     => "$p->{name}",
        type     => $type,
        help     => _or($p->{help}, ''),
        required => $p->{required} ? JSON::PP::true() : JSON::PP::false(),
    };
}

sub configure {
    my ($self, $code) = @_;
    $self->{configure} = $code;
    return $self;
}

sub serve {
    my ($self) = @_;
    Carp::croak('the host starts a module: put this file into the modules directory and call the module') if !defined $ENV{LIVEAPI_MODULE};
    _take_streams() if !$IN;
    while (defined(my $document = _read())) {
        my $answer = $self->answer($document);

        # A child process that the module forked must not continue to serve.
        if ($$ != $OWNER) {
            print {*STDERR} "$answer->{error}{cause}\n" if ref $answer->{error} && defined $answer->{error}{cause};
            POSIX::_exit(1);
        }
        $answer->{id} = $document->{call}{id} if ref $document->{call} eq 'HASH';
        _write($answer);
    }
    exit 0;
}

sub answer {
    my ($self, $document) = @_;
    return $self->_describe($document->{describe}) if ref $document->{describe} eq 'HASH';
    my $request = $document->{call};
    return _error('internal', '') if ref $request ne 'HASH';
    for my $f (@{$self->{functions}}) {
        next if $f->{describe}{name} ne $request->{func} || $f->{describe}{api} != $request->{api};
        my $call   = LiveAPI::Module::Call->new($request);
        my $answer = eval { _result($call, scalar $f->{do}->($call)) };
        return $answer if $answer;
        my $error = $@;
        return _error($error->{kind}, $error->{message}) if ref $error && eval { $error->isa('LiveAPI::Module::Failure') };
        return _error('internal', '', _told($error));
    }
    return _error('internal', '', "the module has no function $request->{func}");
}

# Returns the text of an error, which may be an object or a reference.
sub _told {
    my ($error) = @_;
    my $text = eval { "$error" };
    return 'an error object that has no text' if !defined $text;
    return $text if !ref $error || $text !~ /\A(?:[\w:]+=)?[A-Z]+\(0x[0-9a-f]+\)\z/;
    my %shown = ref $error && eval { %$error } ? map { $_ => $error->{$_} } grep { defined $error->{$_} && !ref $error->{$_} } qw(code error message) : ();
    return 'died with an object of ' . ref($error) . join '', map { ", $_: $shown{$_}" } sort keys %shown;
}

sub _describe {
    my ($self, $ask) = @_;
    if ($self->{configure} && !eval { $self->{configure}->(_or($ask->{settings}, {})); 1 }) {
        my $error = $@;
        return _error('invalid', ref $error ? $error->{message} : $error =~ s/ at \S+ line [0-9]+\.\n\z//r);
    }
    my %module = (name => $self->{name}, help => $self->{help}, functions => [map { $_->{describe} } @{$self->{functions}}]);
    return {modules => [\%module]};
}

# _result checks the answer inside the call's eval, so that invalid data fails that call alone.
sub _result {
    my ($call, $data) = @_;
    my $answer = {data => $data, messages => $call->{messages}, warnings => $call->{warnings}};
    $answer->{metadata} = $call->{metadata} if %{$call->{metadata}};
    return _clean($answer, 0);
}

sub _error {
    my ($kind, $message, $cause) = @_;
    return {error => {
        kind    => $kind,
        message => _clean($message, 0),
        (defined $cause ? (cause => _clean($cause =~ s/\n+\z//r, 0)) : ()),
    }};
}

sub _or { my ($value, $else) = @_; return defined $value ? $value : $else }

sub _take_streams {
    open $IN,  '<&', \*STDIN  or die "liveapi: standard input: $!\n";
    open $OUT, '>&', \*STDOUT or die "liveapi: standard output: $!\n";
    open STDIN,  '<',  '/dev/null' or die "liveapi: /dev/null: $!\n";
    open STDOUT, '>&', \*STDERR or die "liveapi: redirect standard output to standard error: $!\n";
    binmode $_ for $IN, $OUT;
    STDOUT->autoflush(1);    # Each line reaches the host's log at once.
    $OWNER = $$;
    return;
}

# Returns the next document, or nothing at the end of input.
sub _read {
    local $/ = "\n";
    local ($@, $!);
    my $length = readline $IN;
    return if !defined $length;
    # Otherwise Perl would add this handle's line number to the module's own messages.
    $. = 0;    ## no critic (RequireLocalizedPunctuationVars)
    my ($size) = $length =~ /\A([0-9]{1,10})\n\z/;
    die "liveapi: the host sent an invalid document\n" if !defined $size || $size > $MAX;
    my $json = '';
    while (length($json) < $size) {
        read $IN, $json, $size - length($json), length($json) or die "liveapi: the host closed the stream before the document was complete\n";
    }
    return _bytes(JSON::PP->new->utf8->max_depth(64)->decode($json));
}

sub _write {
    my ($document) = @_;
    local ($\, $,);    # The module's own output may set them.
    my $json = JSON::PP->new->utf8->allow_nonref->encode($document);
    if (length($json) > $MAX) {
        my $cause = 'the answer has ' . length($json) . " bytes, but at most $MAX can be sent";
        $json = JSON::PP->new->utf8->encode(_error('internal', '', $cause));
    }
    print {$OUT} length($json) . "\n" . $json or die "liveapi: write the answer: $!\n";
    $OUT->flush;
    return;
}

# Converts text from the host to bytes, as in answers to LiveAPI programs.
sub _bytes {
    my ($value) = @_;
    if (ref $value eq 'HASH') {
        return MIME::Base64::decode_base64($value->{$BYTES}) if keys %$value == 1 && exists $value->{$BYTES};
        my %copy;
        for my $key (keys %$value) {
            my $name = $key;
            utf8::encode($name);
            $copy{$name} = _bytes($value->{$key});
        }
        return \%copy;
    }
    return [map { _bytes($_) } @$value] if ref $value eq 'ARRAY';
    return $value ? 1 : 0 if JSON::PP::is_bool($value);
    utf8::encode($value) if defined $value && utf8::is_utf8($value);
    return $value;
}

# Prepares data from the module for JSON::PP: numbers stay numbers, text becomes characters.
sub _clean {
    my ($value, $depth) = @_;
    die "the data is nested deeper than $DEPTH, or contains itself\n" if $depth > $DEPTH;
    return $value if !defined $value || JSON::PP::is_bool($value);
    my $type = ref $value;
    if ($type eq '') {
        my $flags = B::svref_2object(\$value)->FLAGS;
        return $value if !($flags & B::SVp_POK()) && $flags & (B::SVp_IOK() | B::SVp_NOK()) && $value * 0 == 0;
        return _characters("$value");
    }
    return [map { _clean($_, $depth + 1) } @$value] if $type eq 'ARRAY';
    if ($type eq 'HASH') {
        my %copy;
        my $name;
        for my $key (keys %$value) {
            $name = _characters("$key");
            die "a key of the data is not UTF-8\n" if ref $name;
            $copy{$name} = _clean($value->{$key}, $depth + 1);
        }
        return \%copy;
    }
    return $$value ? 1 : 0 if $type eq 'SCALAR';
    die "data of type $type can't be sent: use text, numbers, undef, hashes and arrays\n";
}

# Perl has one type for bytes and characters, and equal strings may be marked differently: an argument that
# was stored as JSON comes back marked as characters, with the same bytes. So the content decides first:
# bytes that are UTF-8 are text. Otherwise a string that is marked as characters is text, and any other
# string is sent as bytes in base64.
sub _characters {
    my ($text) = @_;
    my $bytes = $text;
    if (utf8::downgrade($bytes, 1)) {
        my $characters = eval { Encode::decode('UTF-8', $bytes, Encode::FB_CROAK() | Encode::LEAVE_SRC()) };
        return $characters if defined $characters;
    }
    if (utf8::is_utf8($text)) {
        utf8::encode($text);
        my $characters = eval { Encode::decode('UTF-8', $text, Encode::FB_CROAK() | Encode::LEAVE_SRC()) };
        return $characters if defined $characters;
    }
    return {$BYTES => MIME::Base64::encode_base64($text, '')};
}

1;

__END__

=encoding utf8

=head1 NAME

LiveAPI::Module - write a module for liveapid in Perl

=head1 SYNOPSIS

    # modules/Greeter/module.pl
    use strict;
    use warnings;
    use LiveAPI::Module;

    my $module = LiveAPI::Module->new(name => 'Greeter', help => 'Greetings.');
    $module->uapi('greet',
        help   => 'Greet somebody.',
        params => [{name => 'name', required => 1, help => 'Whom to greet.'}],
        do     => sub {
            my ($call) = @_;
            $call->fail('I do not greet nobody.') if $call->get('name') eq 'nobody';
            return 'Hello, ' . $call->get('name') . '! You are ' . $call->user . '.';
        },
    );
    $module->serve;

=head1 DESCRIPTION

The host starts the script at the first call of the module, once for each account and with
that account's rights. If the script exits, the next call starts it again. Calls arrive one at a
time. The script's output goes to the host's log. Standard input is empty.

Arguments are bytes, in UTF-8 unless the caller sent something else. Functions may return
characters or bytes: an argument comes back as it was sent, also if the module stored it as JSON
and decoded it again. Bytes that are not UTF-8 reach the caller unchanged.

=head1 METHODS

=head2 new(name => $name, help => $text)

Creates a module. The name must be the name of its directory, or the name in F<module.toml>.

=head2 uapi($name, %function)

Adds a UAPI function. Its keys: C<do>, the code, which gets a
L<call|LiveAPI::Module::Call> and returns the data; C<help>; C<returns>; C<example>, an example
of the data, for the API Shell and the OpenAPI document; C<params>, a list of
hashes with C<name>, C<type> (string, secret, integer, flag or any), C<required> and
C<help>; C<roles>, the callers that may call it (account, mailbox, admin; by default only
account); C<changes>, true if it changes something; C<feature>, a feature that the account must
have; C<open>, true if it also accepts arguments that C<params> does not list. An unknown key,
type or role is an error when the module is loaded.

=head2 api2($name, %function)

Adds an API 2 function: its data is a record or a list of records.

=head2 api1($name, %function)

Adds an API 1 function: its parameters are positional, and its data is the printed text.

=head2 configure($code)

Runs the code with the operator's settings, a hash, before the first call. If the code dies,
the module is not served and the host logs the message.

=head2 serve

Serves calls until the host ends the script. Does not return.

=head2 answer($document)

Returns the answer to one document of the host, for tests.

=head1 SEE ALSO

L<LiveAPI::Module::Call>, L<LiveAPI::Module::Custom>

=cut
