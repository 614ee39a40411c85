"""The command `gen completion`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

BASH = """\
_gen() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" completion words -- "${COMP_WORDS[@]:1:$COMP_CWORD}" 2> /dev/null))
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -o bashdefault -F _gen gen
"""
ZSH = """\
_gen() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words -- "${(@)words[2,CURRENT]}" 2> /dev/null)}")
    if [[ -z ${found[1]} ]]; then _files
    elif [[ ${found[1]} == *= ]]; then compadd -S '' -- "${found[@]}"
    else compadd -- "${found[@]}"
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _gen gen
"""
FISH = """\
complete -c gen -a '(gen completion words -- (commandline -opc)[2..] (commandline -ct) 2> /dev/null)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@dataclass(frozen=True)
class CompletionArguments:
    """Print the script with which a shell completes commands, options, settings and models of gen.

    bash: eval "$(gen completion bash)" in ~/.bashrc; zsh: eval "$(gen completion zsh)" in ~/.zshrc; fish: gen
    completion fish > ~/.config/fish/completions/gen.fish
    """

    shell: Annotated[tyro.conf.Positional[Literal["bash", "zsh", "fish"]], tyro.conf.arg(metavar="SHELL")]
    """The shell: bash, zsh or fish."""


def completion(arguments: Sequence[str]) -> int:
    """`gen completion SHELL`; the scripts themselves call `gen completion words -- WORDS`."""
    if list(arguments[:2]) == ["words", "--"]:
        from gen.completion.candidates import candidates

        print("\n".join(candidates(arguments[2:])))
        return 0
    args = tyro.cli(CompletionArguments, args=list(arguments), prog="gen completion")
    print(SCRIPTS[args.shell], end="")
    return 0
