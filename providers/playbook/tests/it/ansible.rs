//! The same playbook by Ansible.
