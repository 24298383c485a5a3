function __cg_lab_skip
    set -l words (commandline -opc)
    if not string match -qr '(^|/)python[0-9.]*$' -- $words[1]
        echo 1
    else if test (count $words) -ge 3; and test "$words[2] $words[3]" = "-m cg_lab"
        echo 3
    end
end
function __cg_lab
    set -l words (commandline -opc)
    set -l skip (__cg_lab_skip)
    set -l before
    if test (count $words) -gt $skip
        set before $words[(math $skip + 1)..-1]
    end
    env CG_LAB_BEFORE=(string join \n -- $before | string collect) CG_LAB_WORD=(commandline -ct) \
        $words[1..$skip] completion query 2>/dev/null | string trim --right
end
complete -c cg_lab -f -a '(__cg_lab)'
complete -c python -c python3 -n 'test -n "$(__cg_lab_skip)"' -f -a '(__cg_lab)'
