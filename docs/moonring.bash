# bash completion for moonring. Installed where bash-completion finds it; or: source moonring.bash
_moonring() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} i word
  COMPREPLY=()
  case $previous in
  -e) return ;;
  -j) mapfile -t COMPREPLY < <(compgen -W "on off flush v dump" -- "$current") && return ;;
  esac
  # Behind a script or a subcommand come its own arguments.
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
    -e | -l | -j) ((i++)) ;;
    -*) ;;
    test)
      mapfile -t COMPREPLY < <(compgen -W "--deadline= --jobs --jobs= --leaks= --slowest= --filter= --tags= --output= --repeat= --shuffle --coverage --list" -- "$current"
        compgen -f -- "$current")
      return
      ;;
    new) return ;;
    *)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    esac
  done
  case $current in
  --leaks=*) mapfile -t COMPREPLY < <(compgen -W "report fail ignore" -- "${current#*=}") ;;
  --profile=*) mapfile -t COMPREPLY < <(compgen -f -- "${current#*=}") ;;
  -*)
    mapfile -t COMPREPLY < <(compgen -W "-e -l -i -j -O -v -h -- --watch --profile --profile= --trace=iovec --memory-limit= --leaks=" -- "$current")
    ;;
  *)
    mapfile -t COMPREPLY < <(compgen -W "attach doctor new test" -- "$current"
      compgen -f -X '!*.lua' -- "$current"
      compgen -d -- "$current")
    ;;
  esac
}
complete -o filenames -o nospace -F _moonring moonring
