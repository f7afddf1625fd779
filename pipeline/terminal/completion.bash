# Tab completion in bash: source this file, then type `sweep model=<Tab>` for `python -m pipeline.sweep model=…`.
sweep() { python -m pipeline.sweep "$@"; }

_sweep() {
    local choices
    choices=$(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" python -m pipeline.sweep -sc query=bash 2> /dev/null)
    COMPREPLY=($(compgen -W "$choices" -- "${COMP_WORDS[COMP_CWORD]}"))
}

# A word goes on after `=`.
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -F _sweep sweep
