# Completion for cpapi2 and uapi: options and their values.
_liveapid_apitool() {
    local cur=${COMP_WORDS[COMP_CWORD]}
    # bash splits words at =, so the option is one or two words back.
    local prev=${COMP_WORDS[COMP_CWORD-1]} option=${COMP_WORDS[COMP_CWORD-2]-}
    [ "$cur" = "=" ] && cur= && option=$prev && prev="="
    if [ "$prev" = "=" ]; then
        case $option in
            --output) mapfile -t COMPREPLY < <(compgen -W 'json jsonpretty yaml xml' -- "$cur") ;;
            --input) mapfile -t COMPREPLY < <(compgen -W 'json' -- "$cur") ;;
            --user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
        esac
        return
    fi
    case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W '--user= --output= --input=json --help' -- "$cur")
            [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace ;;
    esac
}
complete -F _liveapid_apitool cpapi2 uapi
