#!/usr/bin/env bash
# Boots systemd on a copy of this machine's files: an overlay over /, so nothing of the machine is changed. Processes,
# mounts, host name, network and control groups are its own, and all of it ends with this script. Its exit status is 77
# if the machine does not allow this. usage: boot.sh DIR, an empty directory
set -uo pipefail
export dir=${1:?usage: boot.sh DIR}
mkdir -p "$dir/disk"
mount -t tmpfs tmpfs "$dir/disk" || exit 77
trap 'umount -l "$dir/disk"' EXIT
mkdir "$dir"/disk/{upper,work,root}
unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net -- bash -uc '
  mount --make-rprivate / || exit 77
  root=$dir/disk/root
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/disk/upper,workdir=$dir/disk/work" "$root" || exit 77
  # No setting of the kernel is changed.
  mount -t proc proc "$root/proc" && mount -t sysfs -o ro sysfs "$root/sys" || exit 77
  mount --bind "$root/proc/sys" "$root/proc/sys" && mount -o remount,bind,ro "$root/proc/sys" || exit 77
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" || exit 77
  mount -t tmpfs -o mode=755 tmpfs "$root/dev" || exit 77
  for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device" || exit 77
  done
  mkdir "$root"/dev/{pts,shm}
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts" || exit 77
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs tmpfs "$root/dev/shm" && mount -t tmpfs -o mode=755 tmpfs "$root/run" && mount -t tmpfs -o mode=1777 tmpfs "$root/tmp" || exit 77
  mkdir -p "$root/run/old" "$root/run/handed"
  mount --bind "$dir" "$root/run/handed" || exit 77
  # Nothing of this machine is started but what the test starts.
  mkdir -p "$root/etc/systemd/system"
  printf "[Unit]\nDescription=The test\nRequires=sysinit.target dbus.socket\nAfter=sysinit.target dbus.socket\n" >"$root/etc/systemd/system/liveapid-test.target"
  rm -f "$root/usr/sbin/policy-rc.d"
  cd "$root" && pivot_root . run/old && cd / && umount -l /run/old || exit 77
  ip link set lo up 2>/dev/null
  hostname systemd-test
  exec env -i container=liveapid PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=console --show-status=no --unit=liveapid-test.target'
