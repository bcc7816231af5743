#!/usr/bin/ruby
# Stands for chef-solo and chef-client in tests. It keeps what it was given below /var/tmp/recorded, reads the settings as Chef does (Ruby
# in the context of a configuration), runs the recipes of the run list with two kinds of resources, and calls the handlers.
require "json"
require "fileutils"

$stdout.sync = true

arguments = ARGV.dup
config_file = arguments[arguments.index("-c") + 1]
json_file = arguments[arguments.index("-j") + 1]
why_run = arguments.include?("--why-run")

record = "/var/tmp/recorded/#{Dir.exist?("/var/tmp/recorded") ? Dir.children("/var/tmp/recorded").size : 0}"
FileUtils.mkdir_p(record)
FileUtils.cp_r(File.dirname(config_file), "#{record}/staging")
modes = Dir.glob("#{File.dirname(config_file)}/**/*").sort.map { |path| "%o %s" % [File.stat(path).mode & 0o7777, path] }
said = {
  "program" => File.basename($0), "argv" => arguments, "user" => Process.euid, "license" => ENV["CHEF_LICENSE"],
  "folder_mode" => "%o" % (File.stat(File.dirname(config_file)).mode & 0o7777), "modes" => modes,
  "processes" => Dir.glob("/proc/[0-9]*/cmdline").map { |path| File.read(path).tr("\0", " ") rescue "" }
}

class Chef
  class Handler
    attr_reader :run_status

    def run_report_safely(status)
      @run_status = status
      report
    rescue Exception => e
      warn "Report handler raised #{e.inspect}"
    ensure
      @run_status = nil
    end

    def failed_resources
      run_status.failed
    end
  end
end

RunStatus = Struct.new(:all_resources, :updated_resources, :failed, :exception) do
  def success?
    exception.nil?
  end
end

class Settings
  attr_reader :values

  def initialize
    @values = { report_handlers: [], exception_handlers: [] }
  end

  def method_missing(name, *arguments)
    arguments.empty? ? @values[name] : @values[name] = arguments.first
  end

  def respond_to_missing?(*)
    true
  end
end

class Resource
  attr_reader :declared_type, :name, :action, :cookbook_name, :recipe_name, :source_line

  def initialize(type, name, action, cookbook, recipe, line, &body)
    @declared_type, @name, @action, @cookbook_name, @recipe_name, @source_line = type, name, action, cookbook, recipe, line
    instance_eval(&body) if body
  end

  def resource_name
    declared_type
  end

  def content(text)
    @content = text
  end

  def code(text)
    @code = text
  end

  # Whether it has something to do; does it unless it is only asked.
  def converge(why_run)
    if declared_type == :file
      return false if File.exist?(name) && File.read(name) == @content
      File.write(name, @content) unless why_run
    else
      why_run || system("/bin/sh", "-c", @code) || raise("#{@code} failed")
    end
    true
  end
end

class Recipe
  attr_reader :node

  def initialize(node, resources, cookbook, recipe)
    @node, @resources, @cookbook, @recipe = node, resources, cookbook, recipe
  end

  def file(name, &body)
    @resources << Resource.new(:file, name, [:create], @cookbook, @recipe, caller(1, 1).first, &body)
  end

  def execute(name, &body)
    @resources << Resource.new(:execute, name, [:run], @cookbook, @recipe, caller(1, 1).first, &body)
  end
end

settings = Settings.new
settings.instance_eval(File.read(config_file), config_file, 1)
node = JSON.parse(File.read(json_file))
kept = settings.values.reject { |name, _| %i[report_handlers exception_handlers].include?(name) }
File.write("#{record}/said.json", JSON.generate(said.merge("settings" => kept, "node" => node)))
puts "#{File.basename($0)} starts"

resources, updated, failed, error = [], [], [], nil
begin
  run_list = node["run_list"] || []
  # With a server the cookbooks are there.
  run_list = [] unless settings.cookbook_path
  run_list = run_list.flat_map do |item|
    role = item[/\Arole\[(.+)\]\z/, 1]
    role ? JSON.parse(File.read("#{settings.role_path}/#{role}.json"))["run_list"] : [item]
  end
  run_list.each do |item|
    cookbook, recipe = (item[/\Arecipe\[(.+)\]\z/, 1] || item).split("::")
    recipe ||= "default"
    file = settings.cookbook_path.map { |path| "#{path}/#{cookbook}/recipes/#{recipe}.rb" }.find { |path| File.exist?(path) }
    raise "Cookbook #{cookbook} not found" unless file
    Recipe.new(node, resources, cookbook, recipe).instance_eval(File.read(file), file)
  end
  resources.each do |resource|
    begin
      updated << resource if resource.converge(why_run)
    rescue StandardError
      failed << resource
      raise
    end
  end
rescue StandardError => e
  error = e
end
status = RunStatus.new(resources, updated, failed, error)
settings.values[error ? :exception_handlers : :report_handlers].each { |handler| handler.run_report_safely(status) }
warn "FATAL: #{error.class}: #{error.message}" if error
puts "#{updated.size}/#{resources.size} resources updated"
exit(node["exit"] || (error ? 1 : 0))
