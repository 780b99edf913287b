#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Say how to reach the Galera clusters on the Kubernetes of KUBECONFIG
. "$(dirname "$0")/lib.sh"

command -v kubectl >/dev/null || die "kubectl is not installed, so there is nothing to look the services up with"
kubectl get service --all-namespaces --selector app.kubernetes.io/name=galera,app.kubernetes.io/component=haproxy \
  -o jsonpath='{range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' |
  while read -r namespace service; do
    name=${service%-haproxy}
    cat <<TEXT

$service in the namespace $namespace, to connect from this machine:
  export KUBECONFIG=$KUBECONFIG PATH=$CACHE/bin:\$PATH
  kubectl -n $namespace get secret $name -o jsonpath='{.data.root-password}' | base64 -d
  kubectl -n $namespace exec -it $name-0 -c mariadb -- mariadb --host $service --user root --password
and for a client of this machine, on port 3306:
  kubectl -n $namespace port-forward service/$service 3306
TEXT
  done
