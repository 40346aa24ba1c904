# Completion for uapi, cpapi2, cpapi1 and whmapi1: options, accounts, modules and functions.
_liveapid_apitool() {
    local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[0]}
    # bash splits words at =, so the option is one or two words back.
    local prev=${COMP_WORDS[COMP_CWORD-1]} option=${COMP_WORDS[COMP_CWORD-2]-}
    [ "$cur" = "=" ] && cur= && option=$prev && prev="="
    if [ "$prev" = "=" ]; then
        case $option in
            --output) mapfile -t COMPREPLY < <(compgen -W 'json jsonpretty yaml xml' -- "$cur") ;;
            --input) mapfile -t COMPREPLY < <(compgen -W 'json key-value' -- "$cur") ;;
            --user) mapfile -t COMPREPLY < <(compgen -W "$("$command" --complete=accounts 2>/dev/null)" -- "$cur") ;;
        esac
        return
    fi
    case $prev in
        --output) mapfile -t COMPREPLY < <(compgen -W 'json jsonpretty yaml xml' -- "$cur"); return ;;
        --input) mapfile -t COMPREPLY < <(compgen -W 'json key-value' -- "$cur"); return ;;
        --user) mapfile -t COMPREPLY < <(compgen -W "$("$command" --complete=accounts 2>/dev/null)" -- "$cur"); return ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--user= --output= --input= --fail --help' -- "$cur")
        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
        return
    fi
    # The words before this one that are no options: a module and a function. An account that the command line
    # names is asked for its own modules.
    local words=() user=() i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --user) if [ "${COMP_WORDS[i+1]-}" = "=" ]; then user=("--user=${COMP_WORDS[i+2]-}"); else user=("--user=${COMP_WORDS[i+1]-}"); fi ;;&
            --user | --output | --input) if [ "${COMP_WORDS[i+1]-}" = "=" ]; then i=$((i + 2)); else i=$((i + 1)); fi ;;
            -*) ;;
            *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done
    case ${command##*/}:${#words[@]} in
        whmapi1:0) mapfile -t COMPREPLY < <(compgen -W "$("$command" --complete=functions 2>/dev/null)" -- "$cur") ;;
        whmapi1:*) ;;
        *:0) mapfile -t COMPREPLY < <(compgen -W "$("$command" "${user[@]}" --complete=modules 2>/dev/null)" -- "$cur") ;;
        *:1) mapfile -t COMPREPLY < <(compgen -W "$("$command" "${user[@]}" --complete=functions "${words[0]}" 2>/dev/null)" -- "$cur") ;;
    esac
}
complete -F _liveapid_apitool uapi cpapi2 cpapi1 whmapi1
