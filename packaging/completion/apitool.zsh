#compdef uapi cpapi2 cpapi1 whmapi1
# Completion for uapi, cpapi2, cpapi1 and whmapi1: options, accounts, modules and functions.
_liveapid_apitool() {
    local command=${words[1]} cur=${words[CURRENT]} word option=
    local -a user said found
    for word in ${words[2,CURRENT-1]}; do
        case $option in
            --user) user=(--user=$word); option=; continue ;;
            --output | --input) option=; continue ;;
        esac
        case $word in
            # An account that the command line names is asked for its own modules.
            --user=*) user=($word) ;;
            --user | --output | --input) option=$word ;;
            -*) ;;
            *) said+=($word) ;;
        esac
    done
    case $option in
        --user) compadd -- ${(f)"$($command --complete=accounts 2>/dev/null)"}; return ;;
        --output) compadd json jsonpretty yaml xml; return ;;
        --input) compadd json key-value; return ;;
    esac
    case $cur in
        --output=*) compset -P '*='; compadd json jsonpretty yaml xml; return ;;
        --input=*) compset -P '*='; compadd json key-value; return ;;
        --user=*) compset -P '*='; compadd -- ${(f)"$($command --complete=accounts 2>/dev/null)"}; return ;;
        -*) compadd -S '' -- --user= --output= --input=; compadd -- --fail --help; return ;;
    esac
    case ${command:t}:${#said} in
        whmapi1:0) found=(${(f)"$($command --complete=functions 2>/dev/null)"}) ;;
        whmapi1:*) ;;
        *:0) found=(${(f)"$($command $user --complete=modules 2>/dev/null)"}) ;;
        *:1) found=(${(f)"$($command $user --complete=functions ${said[1]} 2>/dev/null)"}) ;;
    esac
    compadd -- $found
}
_liveapid_apitool "$@"
