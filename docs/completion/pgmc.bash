# Completion for bash: pgmc, and the programs that it makes.
#
# For pgmc it is active once this file is installed (make install) or sourced. For a compiled model name the program:
#   complete -F _pgmc_program ./saw
# Commands and options of programs are taken from their own --help.

_pgmc()
{
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  case $before in
    --format) COMPREPLY=($(compgen -W "text json dot" -- "$word")); return ;;
    --require) COMPREPLY=($(compgen -W "closes partly data unknown open" -- "$word")); return ;;
    --real) COMPREPLY=($(compgen -W "double float" -- "$word")); return ;;
    --march) COMPREPLY=($(compgen -W "native portable" -- "$word")); return ;;
    --dump) COMPREPLY=($(compgen -W "ast model graph verdict expr loop" -- "$word")); return ;;
    --cc) COMPREPLY=($(compgen -c -- "$word")); return ;;
    --data) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")); return ;;
    --cflags) return ;;
    -o | --output) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$("$1" --help 2>/dev/null | grep -oE -- '--[a-z-]+' | sort -u)" -- "$word"))
    return
  fi
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen -f -X '!*.pgm' -- "$word") $(compgen -d -- "$word"))
  ((COMP_CWORD == 1)) && COMPREPLY+=($(compgen -W "check emit" -- "$word"))
}

_pgmc_program()
{
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} choices
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "$("$1" --help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p') --help --version" -- "$word"))
    return
  fi
  case $before in
    --method) choices="fvi const avi" ;;
    --activation) choices="tanh relu leaky_relu softplus" ;;
    --skip) choices="affine none" ;;
    --expectation) choices="exact quadrature fixed-draws monte-carlo" ;;
    --optimizer) choices="profile lbfgs adam" ;;
    --format) choices="text json dot" ;;
    --hidden | --degree | --inputs | --window | --pin | --samples | --step | --batch | --max-iter | --tol | --every | --seed | --seeds | --threads | --draws | --latent | --set) return ;;
  esac
  [[ $word == -* ]] && choices=$("$1" "$command" --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*\).*/\1/p')
  if [[ $choices ]]; then
    COMPREPLY=($(compgen -W "$choices" -- "$word"))
  else
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}

complete -F _pgmc pgmc
