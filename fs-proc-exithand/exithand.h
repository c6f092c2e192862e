/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /proc/<pid>/exithand: the interface between its C code and its Rust code.
 * include/linux/exithand.h has the part that the exit path uses.
 */
#ifndef _FS_PROC_EXITHAND_H
#define _FS_PROC_EXITHAND_H

#include <linux/types.h>

struct exithand_watch;
struct file;
struct inode;
struct iov_iter;
struct kiocb;
struct poll_table_struct;
struct seq_file;

/* attach.c */
extern const struct file_operations proc_exithand_operations;
struct exithand_watch *exithand_find(const struct inode *inode);
struct exithand_watch *exithand_attach(const struct inode *inode,
				       struct exithand_watch *new);
bool exithand_may_see_status(const struct inode *inode);
void exithand_show_pid(struct seq_file *m, const struct file *file);

/* glue.rs */
int exithand_open(struct inode *inode, struct file *file);
int exithand_release(struct inode *inode, struct file *file);
ssize_t exithand_read_iter(struct kiocb *iocb, struct iov_iter *to);
__poll_t exithand_poll(struct file *file, struct poll_table_struct *table);
void exithand_show_fdinfo(struct seq_file *m, struct file *file);

#endif /* _FS_PROC_EXITHAND_H */
