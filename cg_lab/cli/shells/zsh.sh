_cg_lab() {
    local -a found
    local skip=1
    if [[ ${words[1]:t} == python* ]]; then
        skip=3
        if [[ "$words[2] $words[3]" != "-m cg_lab" || $CURRENT -lt 4 ]]; then
            if (( $+functions[_python] )); then _python; else _files; fi
            return
        fi
    fi
    found=("${(@f)$(CG_LAB_BEFORE=${(F)words[skip+1,CURRENT-1]} CG_LAB_WORD=$words[CURRENT] \
        "${(@)words[1,skip]}" completion query 2>/dev/null)}")
    if [[ -z $found ]]; then
        _files
        return
    fi
    local -a whole=("${(@)${(@M)found:#* }% }") begun=("${(@)found:#* }")
    [[ -z $whole ]] || compadd -Q -- $whole
    [[ -z $begun ]] || compadd -Q -S '' -- $begun
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _cg_lab cg_lab python python3
