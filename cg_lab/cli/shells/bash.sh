_cg_lab() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$' \t' words first word
    set -f
    words=($line)
    case $line in *[[:space:]]) words+=("") ;; esac
    first=("${words[0]}")
    case ${words[0]##*/} in
        python*)
            if [ "${words[1]} ${words[2]}" != "-m cg_lab" ] || [ ${#words[@]} -lt 4 ]; then
                set +f
                return
            fi
            first=("${words[@]:0:3}")
            ;;
    esac
    words=("${words[@]:${#first[@]}}")
    word=${words[${#words[@]}-1]}
    unset "words[${#words[@]}-1]"
    IFS=$'\n'
    COMPREPLY=($(CG_LAB_BEFORE="${words[*]}" CG_LAB_WORD="$word" "${first[@]}" completion query 2>/dev/null))
    set +f
    case $word in *[=:]*)
        # What readline completes begins after these characters.
        [ "$COMP_WORDBREAKS" = "${COMP_WORDBREAKS//[=:]/}" ] || COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*[=:]}"}"}")
        ;;
    esac
}
complete -o default -o nospace -F _cg_lab cg_lab python python3
