-- Waits until check() returns true: moonring.test has it.
return require("moonring.test").eventually
