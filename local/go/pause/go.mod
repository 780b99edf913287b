module stateful.galera/local/pause

go 1.26.0
