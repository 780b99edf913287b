#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Make the group /kubelet, the cgroupRoot of kind's KubeletConfiguration, with every controller
set -euo pipefail
cd /sys/fs/cgroup
if [ -f cgroup.controllers ]; then
  # a group hands on the controllers that its subtree_control names: "+cpu +memory ..."
  hand_down() { sed 's/[^ ]*/+&/g' "$1/cgroup.controllers" >"$1/cgroup.subtree_control"; }
  hand_down .
  mkdir -p kubelet
  hand_down kubelet
else
  for controller in */; do
    [ -L "${controller%/}" ] || [ ! -f "$controller/cgroup.procs" ] || mkdir -p "${controller}kubelet"
  done
  for file in cpuset.cpus cpuset.mems; do cat "cpuset/$file" >"cpuset/kubelet/$file"; done
fi
