# Completion for @PROGRAM@: options, accounts, modules and functions.
function __liveapid_@PROGRAM@_words
    # The words before the cursor that are neither options nor their values.
    set -l option
    for word in (commandline -opc)[2..]
        if test -n "$option"
            set option
        else if contains -- $word --user --output --input
            set option $word
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end
function __liveapid_@PROGRAM@_user
    # An account that the command line names is asked for its own modules.
    set -l words (commandline -opc)
    string match -- '--user=*' $words
    if set -l at (contains -i -- --user $words)
        echo --user=$words[(math $at + 1)]
    end
end
function __liveapid_@PROGRAM@_names
    set -l said (__liveapid_@PROGRAM@_words)
    set -l user (__liveapid_@PROGRAM@_user)
    switch @PROGRAM@:(count $said)
        case whmapi1:0
            @PROGRAM@ --complete=functions 2>/dev/null
        case 'whmapi1:*'
        case '*:0'
            @PROGRAM@ $user --complete=modules 2>/dev/null
        case '*:1'
            @PROGRAM@ $user --complete=functions $said[1] 2>/dev/null
    end
end
complete -c @PROGRAM@ -f -a '(__liveapid_@PROGRAM@_names)'
complete -c @PROGRAM@ -l user -x -a '(@PROGRAM@ --complete=accounts 2>/dev/null)' -d 'Account'
complete -c @PROGRAM@ -l output -x -a 'json jsonpretty yaml xml' -d 'Form of the answer'
complete -c @PROGRAM@ -l input -x -a 'json key-value' -d 'Form of the input'
complete -c @PROGRAM@ -l fail -d 'Exit with status 1 if the call fails'
complete -c @PROGRAM@ -l help -d 'Show help'
